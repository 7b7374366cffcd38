//! The type below a derive, and the arguments in its helper attributes.

use proc_macro2::TokenStream;
use syn::{Attribute, DeriveInput, Meta};

use super::Place;
use super::args::{Arg, arguments};

/// The type below a derive.
pub(crate) type MessageItem = DeriveInput;

/// Reads the type below a derive.
pub(crate) fn message_item(item: TokenStream) -> syn::Result<MessageItem> {
    syn::parse2(item)
}

/// The arguments in all helper attributes of `place`, in the order they are written. An attribute that holds no list
/// comes back as what it is.
pub(crate) fn helper_arguments(attrs: &[Attribute], place: Place) -> Vec<Result<Arg, TokenStream>> {
    attrs
        .iter()
        .filter(|attr| attr.path().is_ident(place.word()))
        .flat_map(|attr| match &attr.meta {
            Meta::Path(_) => Vec::new(),
            Meta::List(list) => arguments(list.tokens.clone()),
            Meta::NameValue(pair) => vec![Err(quote::ToTokens::to_token_stream(pair))],
        })
        .collect()
}
