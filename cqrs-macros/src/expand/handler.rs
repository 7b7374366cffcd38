//! Handlers of commands, queries and events.

use std::time::Duration;

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use super::part::{Link, link};
use super::policy::{Guarded, guarded, stands_in_for};
use super::registration::{name_and_location, registration};
use super::thunk::{Thunk, thunk};
use crate::model::{EventMode, Function, Group, Handler, HandlerKind, OnDead, OnUnknown, Retry};

/// The registration of a handler.
pub(crate) fn handler(handler: &Handler) -> TokenStream {
    let function = &handler.function;
    let message = function.ty(&handler.message.ty).to_token_stream();
    let origin = name_and_location(function);
    let needs = needs(function, &message, !matches!(handler.kind, HandlerKind::Link));
    let Thunk { by_ref, definition, output } = thunk(handler);
    let policy = handler.policy.as_ref();
    let guarded = policy.map(|policy| guarded(policy, &output, &message, &stands_in_for(handler)));
    let (definitions, types, fallback) = match &guarded {
        Some(Guarded { definitions, types, fallback }) => (Some(definitions), quote!(#types,), quote!(, #fallback)),
        None => (None, TokenStream::new(), TokenStream::new()),
    };
    let value = match &handler.kind {
        HandlerKind::Command | HandlerKind::Query => {
            let make = constructor(handler, by_ref);
            let how = if guarded.is_some() { quote!(_, _, _, _) } else { quote!(_, _, _) };
            quote!(__cqrs::#make::<__Handler, #types #message, #output, #how>(#origin, #needs #fallback))
        }
        HandlerKind::Link if guarded.is_some() => {
            quote!(__cqrs::guarded_link::<__Handler, #message>(#origin, #needs #fallback))
        }
        HandlerKind::Link => quote!(__cqrs::link::<#message>(#origin, #needs)),
        HandlerKind::Event { mode, order } => {
            let (make, mode) = (constructor(handler, by_ref), event_mode(mode));
            let how = guarded.is_some().then(|| quote!(, _, _));
            quote!(__cqrs::#make::<__Handler, #types #message, #output #how>(#mode, #origin, #order, #needs #fallback))
        }
    };
    let asked = (!function.params.is_empty()).then(|| {
        quote!(
            use __cqrs::AskedFallback as _;
        )
    });
    let definitions = quote!(use __cqrs::ProbeFallback as _; #asked #definition #definitions);
    match handler.kind {
        HandlerKind::Link => {
            let (check, ask) = match (&guarded, by_ref) {
                (Some(_), _) => (quote!(checked_guarded_link), quote!(ask_guarded)),
                (None, true) => (quote!(checked_link_ref), quote!(ask_ref)),
                (None, false) => (quote!(checked_link), quote!(ask)),
            };
            let types = quote!(__Handler, #types #message, #output, _);
            let (check, ask) = (quote!(__cqrs::#check::<#types, _>()), quote!(__cqrs::#ask::<#types>));
            link(&Link { function, message: &message, definitions: &definitions, check, value, ask })
        }
        _ => registration(function, &definitions, &quote!(HandlerItem), &value),
    }
}

/// What the parameters ask for. The checks of the whole list blame the function's name.
pub(super) fn needs(function: &Function, message: &TokenStream, is_handler: bool) -> TokenStream {
    let needs = function.params.iter().map(|param| {
        let ty = function.ty(param);
        quote_spanned!(param.span()=> __cqrs::Asked::<#ty>::NEED)
    });
    let needs = quote!(&[#(#needs),*]);
    let check = if is_handler { quote!(needs) } else { quote!(needs_of_part) };
    quote_spanned!(function.name.span()=> __cqrs::#check::<#message>(#needs))
}

/// The function that makes the handler's item.
fn constructor(handler: &Handler, by_ref: bool) -> Ident {
    let name = match &handler.kind {
        HandlerKind::Command => "command_handler",
        HandlerKind::Query => "query_handler",
        HandlerKind::Link => "link",
        HandlerKind::Event { mode: EventMode::Group(_), .. } => "group_handler",
        HandlerKind::Event { .. } => "domain_event_handler",
    };
    match name {
        _ if handler.policy.is_some() => format_ident!("guarded_{name}"),
        "domain_event_handler" => format_ident!("{name}"),
        _ if by_ref => format_ident!("{name}_ref"),
        _ => format_ident!("{name}"),
    }
}

/// The first argument of an event handler's constructor.
fn event_mode(mode: &EventMode) -> TokenStream {
    match mode {
        EventMode::Plain => quote!(__cqrs::EventMode::Plain),
        EventMode::Inline => quote!(__cqrs::EventMode::Inline),
        EventMode::Durable(policy) => {
            let retry = retry(policy);
            quote!(__cqrs::EventMode::Durable(#retry))
        }
        EventMode::Group(options) => group(options),
    }
}

fn group(group: &Group) -> TokenStream {
    let name = &group.name;
    let topic = option(group.topic.as_ref());
    let concurrency = option(group.concurrency);
    let batch = option(group.batch);
    let retry = retry(&group.retry);
    let on_dead = option(group.on_dead.map(|on_dead| match on_dead {
        OnDead::Park => quote!(__cqrs::OnDead::Park),
        OnDead::Skip => quote!(__cqrs::OnDead::Skip),
    }));
    let unknown = option(group.unknown.map(|unknown| match unknown {
        OnUnknown::Skip => quote!(__cqrs::OnUnknown::Skip),
        OnUnknown::Dead => quote!(__cqrs::OnUnknown::Dead),
    }));
    quote! {
        __cqrs::GroupOptions {
            group: #name,
            topic: #topic,
            concurrency: #concurrency,
            batch: #batch,
            retry: #retry,
            on_dead: #on_dead,
            unknown: #unknown,
        }
    }
}

pub(super) fn retry(retry: &Retry) -> TokenStream {
    if let Retry { max: None, first: None, factor: None, ceiling: None } = retry {
        return quote!(__cqrs::RetryOptions::NONE);
    }
    let (max, factor) = (option(retry.max), option(retry.factor));
    let (first, ceiling) = (option(retry.first.map(duration)), option(retry.ceiling.map(duration)));
    quote!(__cqrs::RetryOptions::new(#max, #first, #factor, #ceiling))
}

pub(super) fn duration(duration: Duration) -> TokenStream {
    // Validation keeps durations far below what would not fit.
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    quote!(::core::time::Duration::from_millis(#milliseconds))
}

pub(super) fn option(value: Option<impl ToTokens>) -> TokenStream {
    value.map_or_else(|| quote!(::core::option::Option::None), |value| quote!(::core::option::Option::Some(#value)))
}
