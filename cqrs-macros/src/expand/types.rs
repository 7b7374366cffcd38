//! The user's types, as generated code can name them.

use proc_macro2::{Group, Ident, Punct, Spacing, TokenStream, TokenTree};
use quote::ToTokens;

use crate::model::{CratePath, UserType};

impl ToTokens for CratePath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}

impl ToTokens for UserType<'_> {
    /// The type's own tokens, so that errors underline it where it stands, with `'_` for the function's lifetimes.
    fn to_tokens(&self, tokens: &mut TokenStream) {
        if self.lifetimes.is_empty() {
            self.ty.to_tokens(tokens);
        } else {
            elide(self.ty.to_token_stream(), self.lifetimes, tokens);
        }
    }
}

fn elide(input: TokenStream, lifetimes: &[Ident], output: &mut TokenStream) {
    let mut quote: Option<Punct> = None;
    for token in input {
        let elided = match (token, quote.take()) {
            (TokenTree::Punct(punct), _) if punct.as_char() == '\'' && punct.spacing() == Spacing::Joint => {
                quote = Some(punct.clone());
                TokenTree::Punct(punct)
            }
            (TokenTree::Ident(ident), Some(_)) if lifetimes.contains(&ident) => {
                TokenTree::Ident(Ident::new("_", ident.span()))
            }
            (TokenTree::Group(group), _) => {
                let mut inner = TokenStream::new();
                elide(group.stream(), lifetimes, &mut inner);
                let mut elided = Group::new(group.delimiter(), inner);
                elided.set_span(group.span());
                TokenTree::Group(elided)
            }
            (token, _) => token,
        };
        output.extend([elided]);
    }
}
