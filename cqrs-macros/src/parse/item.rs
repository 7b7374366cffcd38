//! The type below a derive, and the arguments in its helper attributes.

use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, DeriveInput, Meta, Token, Visibility};

use super::Place;
use super::args::{Arg, arguments};

/// The type below a derive.
pub(crate) type MessageItem = DeriveInput;

/// Reads the type below a derive.
pub(crate) fn message_item(item: TokenStream) -> syn::Result<MessageItem> {
    syn::parse2(item)
}

/// What an attribute of types was put on instead.
#[derive(Debug)]
pub(crate) enum NotAType {
    /// Another item; the ident is its first word, such as `fn`.
    Other(Ident),
    Unparsable(syn::Error),
}

/// Reads the type below an attribute.
pub(crate) fn context_item(item: TokenStream) -> Result<MessageItem, NotAType> {
    let first = |input: ParseStream<'_>| {
        Attribute::parse_outer(input)?;
        input.parse::<Visibility>()?;
        let is_type = input.peek(Token![struct]) || input.peek(Token![enum]) || input.peek(Token![union]);
        let mut word = if is_type { None } else { input.call(Ident::parse_any).ok() };
        while word.as_ref().is_some_and(is_qualifier) {
            word = input.call(Ident::parse_any).ok();
        }
        input.parse::<TokenStream>()?;
        Ok(word)
    };
    match first.parse2(item.clone()) {
        Ok(Some(word)) => Err(NotAType::Other(word)),
        Ok(None) | Err(_) => message_item(item).map_err(NotAType::Unparsable),
    }
}

/// Whether the word stands before another one that says which item it is.
fn is_qualifier(word: &Ident) -> bool {
    ["async", "const", "extern", "unsafe"].iter().any(|qualifier| word == qualifier)
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
