//! Errors that a client is told of.

use proc_macro2::Ident;
use syn::{Generics, Member, Type};

use super::CratePath;

/// An error type.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    /// What is told of a struct, and of each variant that says nothing else.
    pub(crate) told: Option<Told>,
    /// The variants that say something of their own.
    pub(crate) cases: Vec<Case>,
    /// Whether these are all variants there are.
    pub(crate) covered: bool,
    pub(crate) krate: CratePath,
}

/// A variant.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) variant: Ident,
    pub(crate) says: Says,
}

/// Who says what a client is told of a variant.
#[derive(Debug)]
pub(crate) enum Says {
    /// The variant.
    Own(Told),
    /// What it holds.
    Field(Member, Box<Type>),
}

/// What a client is told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) title: Option<String>,
    pub(crate) type_uri: Option<String>,
}
