//! Sagas: their context as a message, and the list of their steps.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;

use super::handler::duration;
use super::message::{Impl, Reader, spec};
use crate::model::{Place, Rate, Saga, Step};

/// The impls of a context, and the registration of its saga. `broken`: an error that says why it can be no context, for what
/// depends on what is in error has none of its own.
pub(crate) fn saga(saga: &Saga, reader: Reader, broken: Option<&TokenStream>) -> TokenStream {
    let Saga { context, cfgs, is_retired, concurrency, rate, places } = saga;
    let name = &context.ident;
    let (krate, mut generics) = (&context.krate, Impl::new(context, reader));
    if let Some(error) = broken {
        generics.check = quote!(
            type __Checked = [(); { #error }];
        );
    }
    let (check, ty, spec) = (&generics.check, &generics.ty, spec(context, &generics));
    let (item, steps) = match places {
        Some(places) => (quote!(__ITEM), steps(places, &limits(*concurrency, *rate), name, ty)),
        None => (quote!(__cqrs::SagaItem::of::<Self>(&[])), TokenStream::new()),
    };
    let item = (!is_retired).then(|| {
        generics.of(
            &quote!(SagaContext),
            &quote! {
                const ITEM: &'static __cqrs::SagaItem = &#item;
            },
        )
    });
    let register = places.is_some().then(|| {
        quote! {
            __cqrs::inventory::submit! { __cqrs::MessageItem::of::<#ty>() }
            __cqrs::inventory::submit! { __ITEM }
        }
    });
    quote! {
        #(#cfgs)*
        #[allow(deprecated)]
        const _: () = {
            use #krate::__private as __cqrs;
            #check
            #spec
            #item
            #steps
            #register
        };
    }
}

/// What follows an item that has limits.
fn limits(concurrency: Option<u32>, rate: Option<Rate>) -> TokenStream {
    let at_once = concurrency.map(|most| quote!(.at_once(#most)));
    let at_rate = rate.map(|Rate { count, per }| {
        let per = duration(per);
        quote!(.at_rate(#count, #per))
    });
    quote!(#at_once #at_rate)
}

/// The list, and what each step is to the others: blamed on the step.
fn steps(places: &[Place], limits: &TokenStream, saga: &Ident, context: &TokenStream) -> TokenStream {
    let items = places.iter().map(|place| match place {
        Place::One(step) => {
            let step = named(step, saga, context);
            quote!(__cqrs::PlaceItem::One(#step))
        }
        Place::Group(members) => {
            let members = members.iter().map(|member| named(member, saga, context));
            quote!(__cqrs::PlaceItem::Group(&[#(#members),*]))
        }
    });
    let checks = places.iter().enumerate().flat_map(|(place, item)| {
        let members = match item {
            Place::One(step) => std::slice::from_ref(step),
            Place::Group(members) => members,
        };
        members.iter().enumerate().map(move |(index, step)| {
            let check = quote_spanned!(span(step)=> __cqrs::step_at(__PLACES, #place, #index));
            quote!(const _: () = #check;)
        })
    });
    quote! {
        const __PLACES: &[__cqrs::PlaceItem] = &[#(#items),*];
        const __ITEM: __cqrs::SagaItem = __cqrs::SagaItem::of::<#context>(__PLACES) #limits;
        #(#checks)*
    }
}

/// A step under its name. What keeps the event that it waits for is named like no function, so that nothing else has its path.
fn named(step: &Step, saga: &Ident, context: &TokenStream) -> TokenStream {
    let path = &step.path;
    let known_as = step.name.as_ref().or(path.segments.last().map(|segment| &segment.ident));
    let keeper = known_as.map(|name| format!("{}.{}", saga.unraw(), name.unraw()));
    let Some(name) = &step.name else {
        return quote_spanned!(span(step)=> __cqrs::step_of::<#path, #context>(#keeper));
    };
    let name = name.unraw().to_string();
    quote_spanned!(span(step)=> __cqrs::step_as::<#path, #context>(#name, #keeper))
}

/// The word by which a step is known.
fn span(step: &Step) -> Span {
    let last = step.path.segments.last().map(|segment| segment.ident.span());
    step.name.as_ref().map(Ident::span).or(last).unwrap_or_else(Span::call_site)
}
