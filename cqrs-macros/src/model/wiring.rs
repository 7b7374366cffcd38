//! Providers and middleware.

use syn::Type;

use super::Function;

/// A provider. Its return type is always written.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) function: Function,
    pub(crate) output: Type,
    pub(crate) scope: Scope,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope {
    App,
    Message,
}

/// A middleware: its function's parameters are those after `Call` and `Next`.
#[derive(Debug)]
pub(crate) struct Middleware {
    pub(crate) function: Function,
    pub(crate) call: Type,
    pub(crate) next: Type,
    pub(crate) order: i32,
    /// The kinds of call it applies to; empty means all.
    pub(crate) kinds: Vec<CallKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    Command,
    Query,
    Stream,
    Event,
    Step,
}
