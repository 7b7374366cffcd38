//! Steps of sagas, and compensations: functions that others name by a path, with their place beside the context.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use super::handler::{duration, needs, option, retry};
use super::part::marker;
use super::policy::{Guarded, guarded};
use super::registration::name_and_location;
use super::thunk::{arguments, called, checked, context, future, local, must_be_send, returned};
use crate::model::{Awaits, Compensation, Function, MessageParam, Policy, SagaStep, Taken};
use crate::parse::Back;

/// What stands for a step.
pub(crate) fn saga_step(step: &SagaStep) -> TokenStream {
    let SagaStep { function, context, policy, awaits, is_pivot, .. } = step;
    let (ty, output) = (function.ty(&context.ty).to_token_stream(), returned(function));
    let handler = handler(function, context, &quote!(StepHandler), awaits.as_ref());
    let stands_in_for = format_ident!("{}", if context.by_ref() { "Member" } else { "Step" });
    let Guarded { definitions, types, fallback } =
        guarded(policy, &output, &ty, &quote!(__cqrs::StandsInFor::#stands_in_for));
    let (origin, needs) = (name_and_location(function), needs(function, &ty, false));
    let made = if context.by_ref() {
        // A change that cannot be stored is blamed where the return type is written.
        let patch = quote_spanned!(function.output.span()=> _);
        let member = quote!(__cqrs::Shape::<#output>::MEMBER);
        let types = quote!(__Handler, #types, #ty, #output, #patch, _);
        quote_spanned!(function.name.span()=> #member.item::<#types>(#origin, #needs, #fallback))
    } else {
        quote!(__cqrs::step::<__Handler, #types, #ty, #output, _, _>(#origin, #needs, #fallback))
    };
    let (retry, back) = (retry(&step.retry), back(step.back.as_ref(), &ty));
    let (by, awaited) = match awaits {
        Some(awaits) => (Some(by(awaits, &ty)), self::awaits(awaits)),
        None => (None, quote!(::core::option::Option::None)),
    };
    let named = step.name.as_ref().map(|name| quote!(.named(#name)));
    let definitions = quote!(#handler #definitions #by);
    let keep = quote!(.keeping(__cqrs::Returned::<#output>::KEEP));
    let value = quote!(#made #keep.with(#retry, #back, #is_pivot, #awaited) #named);
    part(function, &definitions, &quote!(SagaStep<#ty>), &quote!(StepItem), &value)
}

/// What stands for a compensation.
pub(crate) fn compensation(compensation: &Compensation) -> TokenStream {
    let Compensation { function, context, retry: retries } = compensation;
    let (ty, output) = (function.ty(&context.ty).to_token_stream(), returned(function));
    let handler = handler(function, context, &quote!(CompensationHandler), None);
    let Guarded { definitions, .. } = guarded(&Policy::default(), &output, &ty, &TokenStream::new());
    let (origin, needs, retry) = (name_and_location(function), needs(function, &ty, false), retry(retries));
    let value = quote!(__cqrs::compensation::<__Handler, #ty, #output, _, _>(#origin, #needs, #retry));
    let definitions = quote!(#handler #definitions);
    part(function, &definitions, &quote!(Compensation<#ty>), &quote!(CompensationItem), &value)
}

/// The marker, and what it stands for. The item is a constant of its own: so it is checked though nobody names it.
fn part(
    function: &Function,
    definitions: &TokenStream,
    of: &TokenStream,
    item: &TokenStream,
    value: &TokenStream,
) -> TokenStream {
    let Function { name, cfgs, krate, .. } = function;
    let marker = marker(function);
    quote! {
        #marker
        #(#cfgs)*
        #[allow(deprecated)]
        const _: () = {
            use #krate::__private as __cqrs;
            #[allow(unused_imports)]
            use __cqrs::{AskedFallback as _, ProbeFallback as _, ReturnedFallback as _, ShapeFallback as _};
            #definitions
            const __ITEM: __cqrs::#item = #value;
            impl __cqrs::#of for #name {
                const ITEM: &'static __cqrs::#item = &__ITEM;
            }
        };
    }
}

/// `impl HandleLent for __Handler { fn call(context, ..) -> impl Future { .. reserve(context, p0) } }`.
fn handler(function: &Function, param: &MessageParam, role: &TokenStream, awaits: Option<&Awaits>) -> TokenStream {
    let (ty, output, name) = (function.ty(&param.ty).to_token_stream(), returned(function), &function.name);
    let lent = local("lent");
    let first = match param.taken {
        Taken::Mut => quote!(#lent.by_mut()),
        Taken::Ref | Taken::Value => quote!(#lent.by_ref()),
    };
    let role = quote!(__cqrs::role::#role<#ty>);
    let body = match awaits {
        None => {
            let (taken, arguments) = arguments(function, &first, &role);
            let call = called(name, &arguments);
            quote!(#taken #call)
        }
        Some(awaits) => {
            let (event, cx) = (local("event"), local("context"));
            let awaited = &awaits.event;
            // Another event than the awaited one is blamed where its type is written.
            let span = awaits.param.span();
            let here = Ident::new("event", event.span().located_at(span));
            let second = quote_spanned!(span=> &*#here);
            let (taken, arguments) = arguments(function, &quote!(#first, #second), &role);
            let call = must_be_send(name, &arguments);
            let event = quote!(let #event = __cqrs::awaited::<#awaited>(#cx););
            quote_spanned!(name.span()=> #event #taken async move { #call.await })
        }
    };
    let (context, checked, future) = (context(), checked(&ty), future(name));
    quote! {
        struct __Handler;
        impl __cqrs::HandleLent for __Handler {
            type Message = #ty;
            type Output = #output;
            fn call<'c>(#lent: __cqrs::Lent<'c, Self::Message>, #context) -> #future {
                #checked
                #body
            }
        }
    }
}

fn back(back: Option<&Back>, context: &TokenStream) -> TokenStream {
    match back {
        None => quote!(__cqrs::WayBack::Unsaid),
        Some(Back::Nothing) => quote!(__cqrs::WayBack::Nothing),
        Some(Back::By(path)) => quote_spanned!(path.span()=> __cqrs::back_by::<#path, #context>()),
    }
}

/// The fields by which context and event find each other. Whatever is wrong with one of them is blamed where it is named.
fn by(awaits: &Awaits, context: &TokenStream) -> TokenStream {
    let Awaits { event, by, .. } = awaits;
    let (of_context, of_event) = (&by.of_context, &by.of_event);
    let (whole, message) = (local("whole"), local("message"));
    let read_context = quote_spanned!(of_context.span()=> |#whole| &#whole.#of_context);
    let read_event = quote_spanned!(of_event.span()=> |#whole| &#whole.#of_event);
    let read = quote_spanned!(of_event.span()=> __cqrs::by::<#context, #event, _, _>);
    quote! {
        struct __By;
        impl __cqrs::By for __By {
            type Context = #context;
            type Event = #event;
            fn field(
                #whole: ::core::option::Option<&#context>,
                #message: ::core::option::Option<&#event>,
            ) -> ::core::option::Option<::std::vec::Vec<u8>> {
                #read(#whole, #message, #read_context, #read_event)
            }
        }
    }
}

fn awaits(awaits: &Awaits) -> TokenStream {
    let Awaits { event, timeout, group, .. } = awaits;
    let timeout = option(timeout.map(duration));
    let made = quote_spanned!(event.span()=> __cqrs::awaits::<#event, __By>(#timeout));
    let made = match group {
        Some(group) => quote_spanned!(group.span()=> __cqrs::in_group(#made, #group)),
        None => made,
    };
    quote!(::core::option::Option::Some(#made))
}
