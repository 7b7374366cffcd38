//! A function as far as a macro looks at it: its signature. The body stays raw tokens, so that half-typed code neither
//! breaks the macro nor costs anything.

use proc_macro2::{Ident, TokenStream};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Signature, Token, Visibility};

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
    };
    is_other.then(|| ahead.call(<Ident as syn::ext::IdentExt>::parse_any).ok()).flatten()
}
