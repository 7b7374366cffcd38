//! What handlers, providers and middleware have in common.

use proc_macro2::Ident;
use syn::{Attribute, Type};

use super::CratePath;

/// A function that can be registered.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: Ident,
    /// The function's `#[cfg(..)]`s: what is not compiled is not registered either.
    pub(crate) cfgs: Vec<Attribute>,
    /// Its visibility, which the type of the same name has too.
    pub(crate) vis: syn::Visibility,
    pub(crate) is_async: bool,
    /// The lifetimes the function declares; generated code cannot name them.
    pub(crate) lifetimes: Vec<Ident>,
    /// The parameters looked at by type alone.
    pub(crate) params: Vec<Type>,
    /// The return type; `None` where none is written.
    pub(crate) output: Option<Type>,
    pub(crate) krate: CratePath,
}

/// The first parameter of a handler.
#[derive(Debug)]
pub(crate) struct MessageParam {
    /// The message's type, without the `&`.
    pub(crate) ty: Type,
    pub(crate) taken: Taken,
}

/// How the first parameter is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Value,
    Ref,
    /// The context of a saga.
    Mut,
}

impl MessageParam {
    pub(crate) fn by_ref(&self) -> bool {
        self.taken == Taken::Ref
    }
}

/// A type in a signature, with the lifetimes that mean nothing outside of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserType<'a> {
    pub(crate) ty: &'a Type,
    pub(crate) lifetimes: &'a [Ident],
}

impl Function {
    /// The type as generated code can name it.
    pub(crate) fn ty<'a>(&'a self, ty: &'a Type) -> UserType<'a> {
        UserType { ty, lifetimes: &self.lifetimes }
    }
}
