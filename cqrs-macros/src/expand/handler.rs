//! Handlers of commands, queries and events.

use std::time::Duration;

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};

use super::registration::{name_and_location, registration};
use super::thunk::{Thunk, thunk};
use crate::model::{EventMode, Group, Handler, HandlerKind, OnDead, OnUnknown, Retry};

/// The registration of a handler.
pub(crate) fn handler(handler: &Handler) -> TokenStream {
    let function = &handler.function;
    let message = function.ty(&handler.message.ty);
    let origin = name_and_location(function);
    let params = function.params.iter().map(|ty| function.ty(ty));
    // The checks of the whole list blame the function's name.
    let needs = quote!(&[#(__cqrs::Asked::<#params>::NEED),*]);
    let needs = quote_spanned!(function.name.span()=> __cqrs::needs::<#message>(#needs));
    let Thunk { by_ref, definition, output } = thunk(handler);
    let value = match &handler.kind {
        HandlerKind::Command | HandlerKind::Query => {
            let make = constructor(&handler.kind, by_ref);
            quote!(__cqrs::#make::<__Handler, #message, #output, _, _, _>(#origin, #needs))
        }
        HandlerKind::Event { mode, order } => {
            let make = constructor(&handler.kind, by_ref);
            let mode = event_mode(mode);
            quote!(__cqrs::#make::<__Handler, #message, #output>(#mode, #origin, #order, #needs))
        }
    };
    let fallback = (!function.params.is_empty()).then(|| {
        quote!(
            use __cqrs::AskedFallback as _;
        )
    });
    registration(function, &quote!(#fallback #definition), &quote!(HandlerItem), &value)
}

/// The function that makes the handler's item.
fn constructor(kind: &HandlerKind, by_ref: bool) -> Ident {
    let name = match kind {
        HandlerKind::Command => "command_handler",
        HandlerKind::Query => "query_handler",
        HandlerKind::Event { mode: EventMode::Group(_), .. } => "group_handler",
        HandlerKind::Event { .. } => return format_ident!("domain_event_handler"),
    };
    if by_ref { format_ident!("{name}_ref") } else { format_ident!("{name}") }
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
            retry: #retry,
            on_dead: #on_dead,
            unknown: #unknown,
        }
    }
}

fn retry(retry: &Retry) -> TokenStream {
    if let Retry { max: None, first: None, factor: None, ceiling: None } = retry {
        return quote!(__cqrs::RetryOptions::NONE);
    }
    let (max, factor) = (option(retry.max), option(retry.factor));
    let (first, ceiling) = (option(retry.first.map(duration)), option(retry.ceiling.map(duration)));
    quote!(__cqrs::RetryOptions::new(#max, #first, #factor, #ceiling))
}

fn duration(duration: Duration) -> TokenStream {
    // Validation keeps durations far below what would not fit.
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    quote!(::core::time::Duration::from_millis(#milliseconds))
}

fn option(value: Option<impl ToTokens>) -> TokenStream {
    value.map_or_else(|| quote!(::core::option::Option::None), |value| quote!(::core::option::Option::Some(#value)))
}
