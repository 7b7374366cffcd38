//! Handlers of commands, queries and events.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};

use super::registration::{name_and_location, registration};
use super::thunk::thunk;
use crate::model::{EventMode, Group, Handler, HandlerKind, OnDead, OnUnknown, Retry};

/// The registration of a handler.
pub(crate) fn handler(handler: &Handler) -> TokenStream {
    let function = &handler.function;
    let message = function.ty(&handler.message.ty);
    let role = role(&handler.kind);
    let role = quote!(__cqrs::role::#role<#message>);
    let origin = name_and_location(function);
    let params = function.params.iter().map(|ty| function.ty(ty));
    // The checks of the whole list blame the function's name.
    let needs = quote!(&[#(<#params as __cqrs::Param<'static, #role>>::NEED),*]);
    let needs = quote_spanned!(function.name.span()=> __cqrs::needs::<#message>(#needs));
    let thunk = thunk(handler, &role);
    let call = |make: TokenStream| {
        quote! {
            __cqrs::#make::<#message, _, _>(#origin, #needs, &__cqrs::TypedThunk(#thunk))
        }
    };
    let value = match &handler.kind {
        HandlerKind::Command => call(quote!(command_handler)),
        HandlerKind::Query => call(quote!(query_handler)),
        HandlerKind::Event { mode, order } => {
            let (make, mode) = event_mode(mode);
            quote!(__cqrs::#make::<#message>(#mode, #origin, #order, #needs, #thunk))
        }
    };
    registration(function, &quote!(HandlerItem), &value)
}

fn role(kind: &HandlerKind) -> TokenStream {
    match kind {
        HandlerKind::Command => quote!(CommandHandler),
        HandlerKind::Query => quote!(QueryHandler),
        HandlerKind::Event { mode: EventMode::Plain, .. } => quote!(PlainEventHandler),
        HandlerKind::Event { mode: EventMode::Inline, .. } => quote!(InlineEventHandler),
        HandlerKind::Event { mode: EventMode::Durable(_), .. } => quote!(DurableEventHandler),
        HandlerKind::Event { mode: EventMode::Group(_), .. } => quote!(GroupEventHandler),
    }
}

/// The helper that hands an event over by value.
pub(super) fn by_value(mode: &EventMode) -> TokenStream {
    match mode {
        EventMode::Plain | EventMode::Inline | EventMode::Durable(_) => quote!(event_by_value),
        EventMode::Group(_) => quote!(group_event_by_value),
    }
}

/// The constructor of an event handler's item, and its first argument.
fn event_mode(mode: &EventMode) -> (TokenStream, TokenStream) {
    match mode {
        EventMode::Plain => (quote!(domain_event_handler), quote!(__cqrs::EventMode::Plain)),
        EventMode::Inline => (quote!(domain_event_handler), quote!(__cqrs::EventMode::Inline)),
        EventMode::Durable(policy) => {
            let retry = retry(policy);
            (quote!(domain_event_handler), quote!(__cqrs::EventMode::Durable(#retry)))
        }
        EventMode::Group(options) => (quote!(group_handler), group(options)),
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
