//! The closure that calls a handler: parameters out of the call's context, the future checked, the answer turned.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

use crate::model::{Function, Handler, HandlerKind};

/// A local of the generated code. Hygiene keeps it apart from a function of the same name.
pub(super) fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// `|message, mut cx, handler| Box::pin(async move { .. })`.
pub(super) fn thunk(handler: &Handler, role: &TokenStream) -> TokenStream {
    let (message, cx, output) = (local("message"), local("cx"), local("output"));
    let number = if handler.function.params.is_empty() { quote!(_) } else { local("handler").into_token_stream() };
    let called = called(handler, role, &message, &cx);
    let answer = answer(handler, &output);
    let mutable = (!handler.function.params.is_empty()).then(|| quote!(mut));
    quote! {
        |#message, #mutable #cx, #number| ::std::boxed::Box::pin(async move {
            let #output = #called.await;
            (#answer, #cx)
        })
    }
}

/// The handler's future. The block ends before the `await`, so that the parts are not kept across it.
fn called(handler: &Handler, role: &TokenStream, message: &Ident, cx: &Ident) -> TokenStream {
    let Function { name, params, .. } = &handler.function;
    let first = first_argument(handler, message);
    let parts = local("parts");
    let params = params.iter().map(|ty| {
        let ty = handler.function.ty(ty);
        quote!(__cqrs::parameter::<#ty, #role>(&mut #parts))
    });
    let number = local("handler");
    let lend = (!handler.function.params.is_empty()).then(|| quote!(let mut #parts = #cx.parts(#number);));
    let future = must_be_send(name, &quote!(#first #(, #params)*));
    match lend {
        Some(lend) => quote!({ #lend #future }),
        None => future,
    }
}

/// Calls an async function. Where its future is not `Send`, its name is blamed: the whole call stands at its place.
pub(super) fn must_be_send(name: &Ident, arguments: &TokenStream) -> TokenStream {
    let mut arguments = Group::new(Delimiter::Parenthesis, arguments.clone());
    arguments.set_span(name.span());
    quote_spanned!(name.span()=> __cqrs::handler_future_must_be_send(#name #arguments))
}

fn first_argument(handler: &Handler, message: &Ident) -> TokenStream {
    let ty = handler.function.ty(&handler.message.ty);
    let by_ref = handler.message.by_ref;
    match (&handler.kind, by_ref) {
        (HandlerKind::Command | HandlerKind::Query, true) => quote!(&#message),
        (HandlerKind::Command | HandlerKind::Query, false) => quote!(#message),
        (HandlerKind::Event { .. }, true) => quote!(__cqrs::event_ref::<#ty>(&#message)),
        (HandlerKind::Event { mode, .. }, false) => {
            let take = super::handler::by_value(mode);
            quote!(__cqrs::#take::<#ty>(#message))
        }
    }
}

/// What the handler returned, as the message's result.
fn answer(handler: &Handler, output: &Ident) -> TokenStream {
    let returned = returned(&handler.function);
    match handler.kind {
        HandlerKind::Command | HandlerKind::Query => {
            let message = handler.function.ty(&handler.message.ty);
            quote!(__cqrs::answer::<#message, #returned, _, _, _>(#output))
        }
        HandlerKind::Event { .. } => quote!(__cqrs::event_answer::<#returned>(#output)),
    }
}

/// The return type by its own tokens, so that a wrong one is underlined as a whole.
pub(super) fn returned(function: &Function) -> TokenStream {
    function
        .output
        .as_ref()
        .map_or_else(|| quote_spanned!(function.name.span()=> ()), |ty| function.ty(ty).to_token_stream())
}
