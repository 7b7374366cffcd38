//! Handlers of commands, queries and events.

use proc_macro2::TokenStream;
use syn::Type;

use super::args::Args;
use super::event::event_kind;
use super::policy::policy;
use super::signature::{Asyncness, Checked, signature};
use crate::diag::{Sink, catalogue};
use crate::model::{EventMode, Fallback, Function, Handler, HandlerKind, MessageParam, Taken};
use crate::parse::{Arg, FnItem, Place, made_static};

/// Checks a handler; `None` means that an error was reported.
pub(crate) fn handler(
    place: Place,
    args: Vec<Result<Arg, TokenStream>>,
    item: &FnItem,
    sink: &Sink,
) -> Option<Handler> {
    let args = Args::new(place, args, sink);
    let krate = args.krate();
    let kind = match place {
        Place::EventHandler => event_kind(&args),
        Place::QueryHandler => HandlerKind::Query,
        Place::ChainLink => HandlerKind::Link,
        _ => HandlerKind::Command,
    };
    let stored = matches!(kind, HandlerKind::Event { mode: EventMode::Durable(_) | EventMode::Group(_), .. });
    let policy = policy(&args, stored, &item.sig);
    let checked = signature(place, item, Asyncness::Required, sink);
    let message = message_param(&checked, sink);
    checked.output(sink);
    let message = message?;
    sink.is_clean().then(|| Handler { function: checked.function(1, krate), message, kind, policy })
}

/// Checks a fallback.
pub(crate) fn fallback(args: Vec<Result<Arg, TokenStream>>, item: &FnItem, sink: &Sink) -> Option<Fallback> {
    let krate = Args::new(Place::Fallback, args, sink).krate();
    let checked = signature(Place::Fallback, item, Asyncness::Required, sink);
    let message = message_param(&checked, sink);
    checked.output(sink);
    let message = message?;
    sink.is_clean().then(|| Fallback { function: checked.function(1, krate), message })
}

/// A part of something else that has errors, as far as it can be named.
pub(crate) fn named_part(place: Place, args: Vec<Result<Arg, TokenStream>>, item: &FnItem) -> Option<Function> {
    if !matches!(place, Place::ChainLink | Place::Fallback | Place::SagaStep | Place::Compensation) {
        return None;
    }
    let silent = Sink::default();
    let krate = Args::new(place, args, &silent).krate();
    Some(signature(place, item, Asyncness::Either, &silent).function(1, krate))
}

/// The first parameter: `M` or `&M`, behind any pattern; of a fallback `&mut M`, too. A message borrows nothing; where one does, its derive tells.
fn message_param(checked: &Checked<'_>, sink: &Sink) -> Option<MessageParam> {
    let name = &checked.sig.ident;
    let Some(first) = checked.params.first() else {
        // A receiver alone is a method, which is an error already.
        if checked.sig.inputs.is_empty() {
            sink.at(checked.parentheses(), catalogue::missing_message(checked.place, name));
        }
        return None;
    };
    let mut ty: &Type = &first.ty;
    loop {
        match ty {
            Type::Group(group) => ty = &group.elem,
            Type::Paren(paren) => ty = &paren.elem,
            Type::Reference(reference) => {
                let by_mut = reference.mutability.is_some();
                // Of a step's fallback the message is a context, which it may change.
                if by_mut && checked.place != Place::Fallback {
                    sink.at(ty, catalogue::mutable_message(checked.place, name));
                    return None;
                }
                if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident == "static") {
                    sink.at(lifetime, catalogue::static_message(checked.place, name));
                    return None;
                }
                let taken = if by_mut { Taken::Mut } else { Taken::Ref };
                return Some(MessageParam { ty: made_static(&reference.elem), taken });
            }
            _ => return Some(MessageParam { ty: made_static(ty), taken: Taken::Value }),
        }
    }
}
