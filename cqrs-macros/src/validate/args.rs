//! Arguments: known, given once, well-formed.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::LitStr;

use crate::diag::{Sink, catalogue};
use crate::model::CratePath;
use crate::parse::{Arg, ArgValue, Key, Malformed, Place, Value};

/// The arguments of one list, each taken out by its key.
#[derive(Debug)]
pub(super) struct Args<'s> {
    known: Vec<(&'static Key, Arg)>,
    sink: &'s Sink,
}

impl<'s> Args<'s> {
    /// Keeps the arguments that `place` knows; of two with the same key the first.
    pub(super) fn new(place: Place, written: Vec<Result<Arg, TokenStream>>, sink: &'s Sink) -> Self {
        let mut known: Vec<(&'static Key, Arg)> = Vec::new();
        for arg in written {
            let arg = match arg {
                Ok(arg) => arg,
                Err(tokens) => {
                    sink.at(tokens, catalogue::not_an_argument(place));
                    continue;
                }
            };
            match place.keys().find(|key| arg.key == key.word) {
                None => sink.at(&arg.key, catalogue::unknown_argument(&arg.key, place)),
                Some(key) if known.iter().any(|(other, _)| other.word == key.word) => {
                    sink.at(&arg.key, catalogue::repeated_argument(&arg.key));
                }
                Some(key) => known.push((key, arg)),
            }
        }
        Self { known, sink }
    }

    /// The argument as it is written.
    pub(super) fn written(&self, word: &str) -> Option<(&'static Key, &Arg)> {
        self.known.iter().find(|(key, _)| key.word == word).map(|(key, arg)| (*key, arg))
    }

    /// The argument's value; `None` also where it is malformed, which is reported.
    pub(super) fn value<T: Value>(&self, word: &str) -> Option<T> {
        let (key, arg) = self.written(word)?;
        let value = T::read(arg);
        if let Err(Malformed) = value {
            match &arg.value {
                ArgValue::Given(tokens) if !tokens.is_empty() => {
                    self.sink.at(tokens, catalogue::malformed_value(key));
                }
                ArgValue::List(group) => self.sink.at(group, catalogue::malformed_value(key)),
                ArgValue::Given(_) | ArgValue::Absent => self.sink.at(&arg.key, catalogue::missing_value(key)),
            }
        }
        value.ok()
    }

    /// Where to point for a rule about the argument's value.
    pub(super) fn value_tokens(&self, word: &str) -> TokenStream {
        match self.written(word) {
            Some((_, Arg { value: ArgValue::Given(tokens), .. })) => tokens.clone(),
            Some((_, Arg { value: ArgValue::List(group), .. })) => quote!(#group),
            Some((_, Arg { key, value: ArgValue::Absent })) => quote!(#key),
            None => TokenStream::new(),
        }
    }

    /// Whether the word stands there, without a value.
    pub(super) fn flag(&self, word: &str) -> bool {
        self.value::<()>(word).is_some()
    }

    /// A string that is not empty.
    pub(super) fn text(&self, word: &str) -> Option<LitStr> {
        let text: LitStr = self.value(word)?;
        if text.value().trim().is_empty() {
            self.sink.at(&text, catalogue::empty_text(word));
            return None;
        }
        Some(text)
    }

    /// `crate = ..`, or `::cqrs`.
    pub(super) fn krate(&self) -> CratePath {
        let default = || syn::Path {
            leading_colon: Some(syn::Token![::](Span::call_site())),
            segments: std::iter::once(syn::PathSegment::from(Ident::new("cqrs", Span::call_site()))).collect(),
        };
        let Some(path) = self.value::<syn::Path>("crate") else { return CratePath(default()) };
        let from_here = path.segments.first().is_some_and(|first| first.ident == "crate");
        if path.leading_colon.is_none() && !from_here {
            let written = quote!(#path).to_string().replace(' ', "");
            self.sink.at(&path, catalogue::relative_crate_path(&written));
            // What was meant is plain, so the rest of the expansion can go on as meant.
            return CratePath(syn::Path { leading_colon: default().leading_colon, ..path });
        }
        CratePath(path)
    }

    /// The keys that are known and given, in the order they are written.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Ident> {
        self.known.iter().map(|(_, arg)| &arg.key)
    }

    pub(super) fn sink(&self) -> &'s Sink {
        self.sink
    }
}
