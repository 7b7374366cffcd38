//! What surrounds the attempts at a handler.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use super::handler::{duration, option, retry};
use crate::model::{Breaker, EventMode, Handler, HandlerKind, Policy};
use crate::parse::Arm;

/// The parts of a registration that a policy adds to.
pub(super) struct Guarded {
    /// The policy as constants, and the judge of errors.
    pub(super) definitions: TokenStream,
    /// The types that stand for both: `__On, Backed<cached_quote, _>`.
    pub(super) types: TokenStream,
    /// The last argument of the constructor: the fallback's item.
    pub(super) fallback: TokenStream,
}

/// `output` is the type of what the call of the function returns; `stands_in_for` is what its fallback may take no more than.
pub(super) fn guarded(
    policy: &Policy,
    output: &TokenStream,
    message: &TokenStream,
    stands_in_for: &TokenStream,
) -> Guarded {
    let Policy { fallback, on, timeout, retry: retries, breaker } = policy;
    let timeout = option(timeout.map(duration));
    let retries = option(retries.as_ref().map(retry));
    let breaker = option(breaker.as_ref().map(self::breaker));
    let (judge, judging) = if on.is_empty() {
        (quote!(__cqrs::EveryError), TokenStream::new())
    } else {
        // A function without an error is blamed on the first pattern.
        let span = on[0].pattern.span();
        (quote_spanned!(span=> __On), judging(on, output, span))
    };
    let definitions = quote! {
        impl __cqrs::HasPolicy for __Handler {
            const POLICY: __cqrs::Policy = __cqrs::Policy { timeout: #timeout, retry: #retries, breaker: #breaker };
        }
        #judging
    };
    let (backup, fallback) = match fallback {
        None => (quote!(__cqrs::NoFallback), quote!(::core::option::Option::None)),
        // Whatever does not fit is blamed on the path.
        Some(path) => (
            quote_spanned!(path.span()=> __cqrs::Backed<#path, _>),
            quote_spanned!(path.span()=> __cqrs::fallback_of::<#path, #message>(#stands_in_for)),
        ),
    };
    Guarded { definitions, types: quote!(#judge, #backup), fallback }
}

/// The patterns of `on`, each an arm of its own: they may bind what they like.
fn judging(on: &[Arm], output: &TokenStream, span: Span) -> TokenStream {
    let own = quote_spanned!(span=> <#output as __cqrs::Fails>::Error);
    let arms = on.iter().map(|Arm { pattern, guard }| {
        let guard = guard.as_ref().map(|guard| quote!(if #guard));
        quote!(#pattern #guard => true,)
    });
    let error = super::thunk::local("error");
    let implemented = quote_spanned!(span=> impl __cqrs::Counts<#own>);
    quote! {
        struct __On;
        #implemented for __On {
            #[allow(unused_variables, unreachable_patterns, clippy::match_same_arms, clippy::match_like_matches_macro)]
            fn counts(#error: &#own) -> bool {
                match #error {
                    #(#arms)*
                    _ => false,
                }
            }
        }
    }
}

fn breaker(breaker: &Breaker) -> TokenStream {
    let Breaker { failures, open_for, window, name } = breaker;
    if failures.is_none() && open_for.is_none() && window.is_none() && name.is_none() {
        return quote!(__cqrs::BreakerOptions::NONE);
    }
    let (failures, name) = (option(*failures), option(name.as_ref()));
    let (open_for, window) = (option(open_for.map(duration)), option(window.map(duration)));
    quote!(__cqrs::BreakerOptions::new(#failures, #open_for, #window, #name))
}

/// What the fallback of a handler stands in for, and may take no more than.
pub(super) fn stands_in_for(handler: &Handler) -> TokenStream {
    let variant: Ident = match &handler.kind {
        HandlerKind::Command => format_ident!("Command"),
        HandlerKind::Query => format_ident!("Query"),
        HandlerKind::Event { mode: EventMode::Plain, .. } => format_ident!("PlainEvent"),
        HandlerKind::Event { .. } => format_ident!("Event"),
        HandlerKind::Link => {
            let message = handler.function.ty(&handler.message.ty).to_token_stream();
            return quote!(__cqrs::link_stands_in_for::<#message>());
        }
    };
    quote!(__cqrs::StandsInFor::#variant)
}
