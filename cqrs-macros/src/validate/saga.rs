//! Sagas, their steps and compensations.

use proc_macro2::TokenStream;
use syn::{Type, TypeReference};

use super::args::Args;
use super::message::{context_target, owned, unraw};
use super::policy::{policy, retry};
use super::signature::{Asyncness, Checked, signature};
use crate::diag::{Sink, catalogue};
use crate::model::{
    Answer, Awaits, Compensation, Message, MessageKind, MessageParam, Place, Saga, SagaStep, Step, Taken,
};
use crate::parse::{Arg, FnItem, MessageItem, Place as Attribute, WrittenPlace, made_static};

/// Checks a saga. Errors or not, its context gets a model: without its impls it would bring an error at every use.
pub(crate) fn saga(args: Vec<Result<Arg, TokenStream>>, item: &MessageItem, sink: &Sink) -> Saga {
    let args = Args::new(Attribute::Saga, args, sink);
    let name = args.text("name").map_or_else(|| unraw(&item.ident), |name| name.value());
    let version = args.integer("version", 1).unwrap_or(1);
    let upgrades = owned(&args, "migrates");
    let is_retired = args.flag("retired");
    let (concurrency, rate) = (args.integer("concurrency", 1), args.rate("rate"));
    let places = if is_retired { no_places(&args, item) } else { places(&args, item) };
    let krate = args.krate();
    context_target(item, sink);
    let context = Message {
        kind: MessageKind::Saga,
        ident: item.ident.clone(),
        generics: item.generics.clone(),
        topic: name.clone(),
        name,
        version,
        key: None,
        upgrades,
        wire: None,
        answer: Answer::None,
        krate,
    };
    let cfgs = item.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect();
    // With steps it is in error, and they bring none besides.
    let is_retired = is_retired && args.written("steps").is_none();
    Saga { context, cfgs, is_retired, concurrency, rate, places: places.filter(|_| sink.is_clean()) }
}

/// A version that nobody runs any more is read, and has no steps.
fn no_places(args: &Args<'_>, item: &MessageItem) -> Option<Vec<Place>> {
    if let Some((_, arg)) = args.written("steps") {
        args.sink().at(&arg.key, catalogue::steps_of_a_retired_saga(&item.ident));
    }
    for (key, arg) in ["concurrency", "rate"].into_iter().filter_map(|word| args.written(word)) {
        args.sink().at(&arg.key, catalogue::limits_of_a_retired_saga(key, &item.ident));
    }
    None
}

fn places(args: &Args<'_>, item: &MessageItem) -> Option<Vec<Place>> {
    if args.written("steps").is_none() {
        args.sink().at(&item.ident, catalogue::no_steps(&item.ident));
        return None;
    }
    let written: Vec<WrittenPlace> = args.value("steps")?;
    if written.is_empty() {
        args.sink().at(args.value_tokens("steps"), catalogue::no_steps(&item.ident));
    }
    Some(written.into_iter().filter_map(|place| self::place(place, args.sink())).collect())
}

fn place(written: WrittenPlace, sink: &Sink) -> Option<Place> {
    match written {
        WrittenPlace::Step(step) => Some(Place::One(step)),
        WrittenPlace::Group(tokens, members) => {
            match members.len() {
                0 => sink.at(tokens, catalogue::empty_group()),
                1 => sink.at(tokens, catalogue::group_of_one()),
                _ => {}
            }
            Some(Place::Group(members.into_iter().filter_map(|member| self::member(member, sink)).collect()))
        }
        WrittenPlace::Other(tokens) => {
            sink.at(tokens, catalogue::not_a_step());
            None
        }
    }
}

fn member(written: WrittenPlace, sink: &Sink) -> Option<Step> {
    match written {
        WrittenPlace::Step(step) => return Some(step),
        WrittenPlace::Group(tokens, _) => sink.at(tokens, catalogue::group_in_a_group()),
        WrittenPlace::Other(tokens) => sink.at(tokens, catalogue::not_a_step()),
    }
    None
}

/// Checks a step; `None` means that an error was reported.
pub(crate) fn saga_step(args: Vec<Result<Arg, TokenStream>>, item: &FnItem, sink: &Sink) -> Option<SagaStep> {
    let args = Args::new(Attribute::SagaStep, args, sink);
    let krate = args.krate();
    let (back, is_pivot) = (args.value("compensate"), args.flag("pivot"));
    let name = args.text("name");
    if let Some(name) = name.as_ref().filter(|name| name.value().contains('/')) {
        sink.at(name, catalogue::slash_in_a_step());
    }
    let mut policy = policy(&args, true, &item.sig).unwrap_or_default();
    let retry = retry(&args).unwrap_or_default();
    let checked = signature(Attribute::SagaStep, item, Asyncness::Required, sink);
    let context = context_param(&checked, sink);
    let awaits = awaits(&args, &checked);
    checked.output(sink);
    let context = context?;
    let awaits = awaits.map(|awaits| Awaits { timeout: policy.timeout.take(), ..awaits });
    let first = if awaits.is_some() { 2 } else { 1 };
    let function = checked.function(first, krate);
    sink.is_clean().then_some(SagaStep { function, context, name, policy, retry, back, is_pivot, awaits })
}

/// The event that a step waits for, which it takes second.
fn awaits(args: &Args<'_>, checked: &Checked<'_>) -> Option<Awaits> {
    let sink = args.sink();
    let (event, by, group) = (args.value::<Type>("awaits"), args.value("by"), args.text("group"));
    let Some((_, written)) = args.written("awaits") else {
        for (key, arg) in ["by", "group"].into_iter().filter_map(|word| args.written(word)) {
            sink.at(&arg.key, catalogue::needs_awaits(key));
        }
        return None;
    };
    if args.written("by").is_none() {
        sink.at(&written.key, catalogue::awaits_without_by());
    }
    let event = event?;
    let name = &checked.sig.ident;
    let Some(second) = checked.params.get(1) else {
        // A step without any parameter lacks its context first.
        if !checked.params.is_empty() {
            sink.at(checked.parentheses(), catalogue::missing_event(name));
        }
        return None;
    };
    let param = match reference(&second.ty) {
        Some(reference) if reference.mutability.is_none() => made_static(&reference.elem),
        _ => {
            sink.at(&second.ty, catalogue::event_by_value(name));
            return None;
        }
    };
    Some(Awaits { event: made_static(&event), param, by: by?, timeout: None, group })
}

/// Checks a compensation; `None` means that an error was reported.
pub(crate) fn compensation(args: Vec<Result<Arg, TokenStream>>, item: &FnItem, sink: &Sink) -> Option<Compensation> {
    let args = Args::new(Attribute::Compensation, args, sink);
    let krate = args.krate();
    let retry = retry(&args).unwrap_or_default();
    let checked = signature(Attribute::Compensation, item, Asyncness::Required, sink);
    let context = context_param(&checked, sink);
    checked.output(sink);
    let context = context?;
    sink.is_clean().then(|| Compensation { function: checked.function(1, krate), context, retry })
}

/// The first parameter: `&mut C` or `&C`.
fn context_param(checked: &Checked<'_>, sink: &Sink) -> Option<MessageParam> {
    let name = &checked.sig.ident;
    let Some(first) = checked.params.first() else {
        // A receiver alone is a method, which is an error already.
        if checked.sig.inputs.is_empty() {
            sink.at(checked.parentheses(), catalogue::missing_context(checked.place, name));
        }
        return None;
    };
    let Some(reference) = reference(&first.ty) else {
        sink.at(&first.ty, catalogue::context_by_value(checked.place, name));
        return None;
    };
    if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident == "static") {
        sink.at(lifetime, catalogue::static_message(checked.place, name));
        return None;
    }
    let taken = if reference.mutability.is_some() { Taken::Mut } else { Taken::Ref };
    Some(MessageParam { ty: made_static(&reference.elem), taken })
}

fn reference(ty: &Type) -> Option<&TypeReference> {
    match ty {
        Type::Group(group) => reference(&group.elem),
        Type::Paren(paren) => reference(&paren.elem),
        Type::Reference(reference) => Some(reference),
        _ => None,
    }
}
