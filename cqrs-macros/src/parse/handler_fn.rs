//! A function as far as a macro looks at it: its signature. The body stays raw tokens, so that half-typed code neither
//! breaks the macro nor costs anything.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Signature, Token, Visibility};

use super::Place;

/// A function without its body.
#[derive(Debug)]
pub(crate) struct FnItem {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
}

/// What an attribute was put on instead.
#[derive(Debug)]
pub(crate) enum NotAFunction {
    /// Another item; the ident is its keyword, such as `struct`.
    Other(Ident),
    Unparsable(syn::Error),
}

/// Reads the item below an attribute.
pub(crate) fn fn_item(item: TokenStream) -> Result<FnItem, NotAFunction> {
    let function = |input: ParseStream<'_>| {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        if let Some(keyword) = other_keyword(input) {
            input.parse::<TokenStream>()?;
            return Ok(Err(NotAFunction::Other(keyword)));
        }
        let sig = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(Ok(FnItem { attrs, vis, sig }))
    };
    function.parse2(item).unwrap_or_else(|error| Err(NotAFunction::Unparsable(error)))
}

/// The attributes that make a function one thing: it carries one of them, once.
const EXCLUSIVE: [&str; 8] = [
    "command_handler",
    "query_handler",
    "event_handler",
    "chain_link",
    "saga_step",
    "compensation",
    "provider",
    "middleware",
];

/// Takes out the attributes that would make the function a second thing beside `place`; gives their names.
pub(crate) fn without_second_attribute(place: Place, item: TokenStream) -> (TokenStream, Vec<Ident>) {
    let exclusive = |word: &str| EXCLUSIVE.contains(&word);
    let (mut kept, mut seconds) = (TokenStream::new(), Vec::new());
    let mut tokens = item.into_iter().peekable();
    while let Some(hash) = tokens.next_if(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '#')) {
        let attribute = tokens.next();
        match attribute.as_ref().and_then(own_attribute) {
            Some(word) if word == place.word() || exclusive(place.word()) && exclusive(&word.to_string()) => {
                seconds.push(word);
            }
            _ => kept.extend([hash].into_iter().chain(attribute)),
        }
    }
    kept.extend(tokens);
    (kept, seconds)
}

/// The name of an attribute that is written as one of ours: `[name]`, `[cqrs::name(..)]`.
fn own_attribute(attribute: &TokenTree) -> Option<Ident> {
    let TokenTree::Group(attribute) = attribute else { return None };
    let path: Vec<TokenTree> =
        attribute.stream().into_iter().take_while(|token| !matches!(token, TokenTree::Group(_))).collect();
    match path.as_slice() {
        [TokenTree::Ident(name)] => Some(name.clone()),
        [TokenTree::Ident(krate), TokenTree::Punct(_), TokenTree::Punct(_), TokenTree::Ident(name)]
            if krate == "cqrs" =>
        {
            Some(name.clone())
        }
        _ => None,
    }
}

/// The keyword of an item that is no function.
fn other_keyword(input: ParseStream<'_>) -> Option<Ident> {
    let ahead = input.fork();
    let is_other = if ahead.peek(Token![unsafe]) {
        ahead.peek2(Token![impl]) || ahead.peek2(Token![trait]) || ahead.peek2(Token![mod])
    } else if ahead.peek(Token![const]) {
        !(ahead.peek2(Token![fn])
            || ahead.peek2(Token![async])
            || ahead.peek2(Token![unsafe])
            || ahead.peek2(Token![extern]))
    } else {
        ahead.peek(Token![struct])
            || ahead.peek(Token![enum])
            || ahead.peek(Token![impl])
            || ahead.peek(Token![mod])
            || ahead.peek(Token![trait])
            || ahead.peek(Token![static])
            || ahead.peek(Token![type])
            || ahead.peek(Token![use])
            || ahead.peek(Token![let])
    };
    is_other.then(|| ahead.call(<Ident as syn::ext::IdentExt>::parse_any).ok()).flatten()
}
