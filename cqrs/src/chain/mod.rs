//! Chains: several handlers for one command or query, asked in order until one answers.
//!
//! `link` is what a link returns and how it is called, `run` the chain itself: one handler to everybody else, whose links
//! share its unit of work.

mod link;
mod run;

pub use self::link::{ChainLink, Link, Passed, ask, ask_guarded, ask_ref};
pub(crate) use self::run::Links;
pub(crate) use self::run::chain;
