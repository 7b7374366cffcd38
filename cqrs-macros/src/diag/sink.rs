//! Gathers errors, so that one compilation shows every mistake.

use std::cell::RefCell;

use proc_macro2::TokenStream;
use quote::ToTokens;

use super::Text;

/// The errors of one macro call, in the order they were found, which is the order of the source.
#[derive(Debug, Default)]
pub(crate) struct Sink(RefCell<Vec<syn::Error>>);

impl Sink {
    /// An error that underlines all of `tokens`.
    pub(crate) fn at(&self, tokens: impl ToTokens, text: Text) {
        self.0.borrow_mut().push(syn::Error::new_spanned(tokens, text));
    }

    /// An error of the parser, in its own words.
    pub(crate) fn syntax(&self, error: syn::Error) {
        self.0.borrow_mut().push(error);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Takes the first error out, to be said by an expression.
    pub(crate) fn take_first(&self) -> Option<TokenStream> {
        let mut errors = self.0.borrow_mut();
        (!errors.is_empty()).then(|| errors.remove(0).to_compile_error())
    }

    /// The errors as tokens: one `compile_error!` each.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.0.into_inner().iter().map(syn::Error::to_compile_error).collect()
    }
}
