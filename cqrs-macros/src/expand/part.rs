//! Functions that others name by a path: links and fallbacks, and what stands for a broken one. Beside the function stands an empty type of its name.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};

use super::handler::needs;
use super::registration::{name_and_location, registration};
use super::thunk::{arguments, called, context, local, returned};
use crate::model::{Fallback, Function, Taken};
use crate::parse::{Place, borrow};

/// The type of the function's name, by which a path to the function is a path to what was registered.
pub(super) fn marker(function: &Function) -> TokenStream {
    let Function { name, cfgs, vis, .. } = function;
    quote! {
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code, unreachable_pub, missing_debug_implementations, clippy::empty_enums)]
        #vis enum #name {}
    }
}

/// What is generated for a link.
pub(super) struct Link<'f> {
    pub(super) function: &'f Function,
    pub(super) message: &'f TokenStream,
    pub(super) definitions: &'f TokenStream,
    /// Says whether its types fit.
    pub(super) check: TokenStream,
    /// Its item.
    pub(super) value: TokenStream,
    /// The function that asks it.
    pub(super) ask: TokenStream,
}

/// The registration of a link. What does not fit is said by the length of an array: where that is an error, the rest
/// depends on it and brings none.
pub(super) fn link(link: &Link<'_>) -> TokenStream {
    let Link { function, message, definitions, check, value, ask } = link;
    let name = &function.name;
    let (passed, cx, number) = (local("passed"), local("cx"), local("link"));
    let definitions = quote! {
        #definitions
        type __Checked = [(); #check];
        impl __cqrs::ChainLink<#message> for #name
        where
            __Checked:,
        {
            const ITEM: &'static __cqrs::HandlerItem = &#value;
            fn ask<'c>(
                #passed: &'c mut __cqrs::Passed<#message>,
                #cx: &'c mut __cqrs::Cx<'_>,
                #number: u32,
            ) -> impl ::core::future::Future<Output = ()> {
                #ask(#passed, #cx, #number)
            }
        }
    };
    let item = quote!(__cqrs::LinkItem::new(<#name as __cqrs::ChainLink<#message>>::ITEM));
    let registration = registration(function, &definitions, &quote!(LinkItem), &item);
    let marker = marker(function);
    quote!(#marker #registration)
}

/// What stands for a fallback.
pub(crate) fn fallback(fallback: &Fallback) -> TokenStream {
    let Fallback { function, message } = fallback;
    let Function { name, cfgs, krate, .. } = function;
    let ty = function.ty(&message.ty).to_token_stream();
    let (by_value, by_mut) = (message.taken == Taken::Value, message.taken == Taken::Mut);
    let (origin, needs) = (name_and_location(function), needs(function, &ty, false));
    let (lent, context) = (local("message"), context());
    let (first, make) = match message.taken {
        Taken::Value => (quote!(#lent.by_value()), quote!(fallback)),
        Taken::Ref => (quote!(#lent.by_ref()), quote!(fallback)),
        Taken::Mut => (quote!(#lent.by_mut()), quote!(fallback_mut)),
    };
    let (taken, arguments) = arguments(function, &first, &quote!(__cqrs::role::FallbackHandler<#ty>));
    let call = called(name, &arguments);
    let output = returned(function);
    // A parameter behind a reference is told nothing of the cause.
    let told = function.params.iter().filter(|ty| borrow(ty).is_none());
    let (checked, future) = (super::thunk::checked(&ty), super::thunk::future(name));
    let marker = marker(function);
    quote! {
        #marker
        #(#cfgs)*
        #[allow(deprecated)]
        const _: () = {
            use #krate::__private as __cqrs;
            #[allow(unused_imports)]
            use __cqrs::{AskedFallback as _, ProbeFallback as _};
            impl __cqrs::Fallback<#ty> for #name {
                type Output = #output;
                const BY_VALUE: bool = #by_value;
                const BY_MUT: bool = #by_mut;
                const ITEM: &'static __cqrs::HandlerItem = &__cqrs::#make::<#ty>(#origin, #needs);
                fn call<'c>(#lent: __cqrs::Lent<'c, #ty>, #context) -> #future {
                    #checked
                    #taken
                    #call
                }
            }
            impl<__E> __cqrs::AnswersTo<__E> for #name where #(#told: __cqrs::FitsCause<__E>,)* {}
        };
    }
}

/// What stands for a link or a fallback with an error, so that a path to it is no second one: what depends on a type that
/// is in error has none of its own.
pub(crate) fn broken_part(place: Place, function: &Function, error: &TokenStream) -> TokenStream {
    let Function { name, cfgs, krate, .. } = function;
    let item = |of: TokenStream| {
        quote! {
            const ITEM: &'static __cqrs::#of = {
                let _: __Error;
                loop {}
            };
        }
    };
    let part = match place {
        Place::Fallback => broken_fallback(name, &item(quote!(HandlerItem))),
        Place::SagaStep => {
            let item = item(quote!(StepItem));
            quote!(impl<__C> __cqrs::SagaStep<__C> for #name { #item })
        }
        Place::Compensation => {
            let item = item(quote!(CompensationItem));
            quote!(impl<__C> __cqrs::Compensation<__C> for #name { #item })
        }
        _ => broken_link(name, &item(quote!(HandlerItem))),
    };
    let marker = marker(function);
    quote! {
        #marker
        #(#cfgs)*
        const _: () = {
            use #krate::__private as __cqrs;
            type __Error = [(); { #error }];
            #part
        };
    }
}

fn broken_fallback(name: &Ident, item: &TokenStream) -> TokenStream {
    quote! {
        impl<__M: __cqrs::Message> __cqrs::Fallback<__M> for #name {
            type Output = __Error;
            const BY_VALUE: bool = false;
            const BY_MUT: bool = false;
            #item
            fn call<'c>(
                _: __cqrs::Lent<'c, __M>,
                _: &'c mut __cqrs::Cx<'_>,
                _: u32,
            ) -> impl ::core::future::Future<Output = Self::Output> {
                async { loop {} }
            }
        }
        impl<__E> __cqrs::AnswersTo<__E> for #name {}
    }
}

fn broken_link(name: &Ident, item: &TokenStream) -> TokenStream {
    quote! {
        impl<__M: __cqrs::Handled> __cqrs::ChainLink<__M> for #name {
            #item
            fn ask<'c>(
                _: &'c mut __cqrs::Passed<__M>,
                _: &'c mut __cqrs::Cx<'_>,
                _: u32,
            ) -> impl ::core::future::Future<Output = ()> {
                async { loop {} }
            }
        }
    }
}
