//! A consumer that is as strict as a crate can be: every macro with every argument and every parameter, compiled in
//! silence where warnings are errors, where no name is there by itself, and where the usual names mean something else.
//!
//! The framework is called `bus` here. [`ordinary`] is written as people write; [`bare`] and [`shadowed`] share one
//! source, `everything.rs`, which names everything by its absolute path.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, clippy::pedantic, clippy::nursery, clippy::allow_attributes_without_reason)]
#![deny(future_incompatible, keyword_idents, let_underscore, nonstandard_style, rust_2018_idioms, unused)]
#![deny(missing_debug_implementations, single_use_lifetimes, trivial_casts, trivial_numeric_casts, unreachable_pub)]
#![deny(explicit_outlives_requirements, meta_variable_misuse, non_ascii_idents, unit_bindings, unused_import_braces)]
#![deny(unused_lifetimes, unused_macro_rules, unused_results, variant_size_differences, redundant_lifetimes)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]
#![deny(clippy::shadow_reuse, clippy::shadow_same, clippy::shadow_unrelated)]

pub mod bare;
pub mod ordinary;
pub mod shadowed;

/// The app.
pub fn app() -> bus::Builder {
    bus::bootstrap!(crates = [strict]).store(bus::Store::url("sqlite://strict.db")).broker(bus::Broker::url("memory:"))
}

// `crates = [..]` names this very crate.
extern crate self as strict;
