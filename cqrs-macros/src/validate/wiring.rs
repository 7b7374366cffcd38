//! Providers and middleware.

use proc_macro2::TokenStream;
use syn::Type;

use super::args::Args;
use super::signature::{Asyncness, signature};
use crate::diag::{Sink, catalogue};
use crate::model::{CallKind, Middleware, Provider, Scope};
use crate::parse::{Arg, FnItem, Place, borrow};

const SCOPES: [(&str, Scope); 2] = [("app", Scope::App), ("message", Scope::Message)];

const KINDS: [(&str, CallKind); 5] = [
    ("command", CallKind::Command),
    ("query", CallKind::Query),
    ("stream", CallKind::Stream),
    ("event", CallKind::Event),
    ("step", CallKind::Step),
];

/// Checks a provider; `None` means that an error was reported.
pub(crate) fn provider(args: Vec<Result<Arg, TokenStream>>, item: &FnItem, sink: &Sink) -> Option<Provider> {
    let args = Args::new(Place::Provider, args, sink);
    let krate = args.krate();
    let scope = args.word("scope", &SCOPES).unwrap_or(Scope::App);
    let checked = signature(Place::Provider, item, Asyncness::Either, sink);
    checked.output(sink);
    let function = checked.function(0, krate);
    let name = &function.name;
    let Some(output) = function.output.clone() else {
        sink.at(name, catalogue::provider_without_output(name));
        return None;
    };
    match &output {
        Type::Tuple(unit) if unit.elems.is_empty() => sink.at(unit, catalogue::provider_without_output(name)),
        Type::Reference(_) if borrow(&output).is_some() => sink.at(&output, catalogue::borrowed_value(name)),
        _ => {}
    }
    sink.is_clean().then_some(Provider { function, output, scope })
}

/// Checks a middleware; `None` means that an error was reported.
pub(crate) fn middleware(args: Vec<Result<Arg, TokenStream>>, item: &FnItem, sink: &Sink) -> Option<Middleware> {
    let args = Args::new(Place::Middleware, args, sink);
    let krate = args.krate();
    let order = args.integer("order", i128::from(i32::MIN)).unwrap_or(0);
    let kinds = kinds(&args);
    let checked = signature(Place::Middleware, item, Asyncness::Required, sink);
    checked.output(sink);
    let [call, next, ..] = checked.params.as_slice() else {
        // A receiver is an error already.
        if checked.sig.receiver().is_none() {
            sink.at(checked.parentheses(), catalogue::missing_call_or_next(&checked.sig.ident));
        }
        return None;
    };
    let (call, next) = ((*call.ty).clone(), (*next.ty).clone());
    sink.is_clean().then(|| Middleware { function: checked.function(2, krate), call, next, order, kinds })
}

fn kinds(args: &Args<'_>) -> Vec<CallKind> {
    let Some(kinds) = args.words("kinds", &KINDS) else { return Vec::new() };
    if kinds.is_empty() && args.sink().is_clean() {
        args.sink().at(args.value_tokens("kinds"), catalogue::empty_kinds());
    }
    kinds
}
