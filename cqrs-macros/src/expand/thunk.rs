//! The call of a handler's function with its parameters: all that is generated of what runs.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use crate::model::{EventMode, Function, Handler, HandlerKind};
use crate::parse::borrow;

/// A local of the generated code. Hygiene keeps it apart from a function of the same name.
pub(super) fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// How a handler's function is called.
pub(super) struct Thunk {
    /// Whether the function is called with a reference to the message, which others may share.
    pub(super) by_ref: bool,
    /// The type that stands for the handler, with its call.
    pub(super) definition: TokenStream,
    /// The type of what the call returns, by the tokens of the function's own return type where it has one.
    pub(super) output: TokenStream,
}

/// `impl Handle for __Handler { fn call(message, context, handler) -> impl Future { .. place_order(message, p0) } }`.
pub(super) fn thunk(handler: &Handler) -> Thunk {
    let function = &handler.function;
    let by_ref = handler.message.by_ref() || is_shared(&handler.kind);
    let message = function.ty(&handler.message.ty);
    let (handle, message_type) = match (&handler.policy, by_ref) {
        (Some(_), _) => (quote!(HandleLent), quote!(__cqrs::Lent<'c, Self::Message>)),
        (None, true) => (quote!(HandleRef), quote!(&'c Self::Message)),
        (None, false) => (quote!(Handle), quote!(Self::Message)),
    };
    let argument = local("message");
    let (output, body) = output_and_body(handler, by_ref);
    let (context, checked, future) = (context(), checked(&message), future(&function.name));
    let definition = quote! {
        struct __Handler;
        impl __cqrs::#handle for __Handler {
            type Message = #message;
            type Output = #output;
            #[inline]
            fn call<'c>(#argument: #message_type, #context) -> #future {
                #checked
                #body
            }
        }
    };
    Thunk { by_ref, definition, output }
}

/// Names what is in error where the derive of `message` is: then nothing else about the call is an error of its own, such
/// as that its future is not `Send`, for the message is not.
pub(super) fn checked(message: &impl ToTokens) -> TokenStream {
    quote!(let _ = __cqrs::Probe::<#message>::CHECKED;)
}

/// What a call gives. A future that is not `Send`, which the trait asks for, is the function's own: its name is blamed.
/// Asked for here, too, it would be a second error where a parameter is one already.
pub(super) fn future(name: &Ident) -> TokenStream {
    quote_spanned!(name.span()=> impl ::core::future::Future<Output = Self::Output>)
}

/// Whether one value of the message is for several handlers.
fn is_shared(kind: &HandlerKind) -> bool {
    matches!(kind, HandlerKind::Event { mode, .. } if !matches!(mode, EventMode::Group(_)))
}

/// What the call returns, and the call. A return type with lifetimes means nothing outside of the function: it is turned
/// into the message's result within the call.
fn output_and_body(handler: &Handler, by_ref: bool) -> (TokenStream, TokenStream) {
    let Function { name, output, .. } = &handler.function;
    let (role, message) = (role(&handler.kind), handler.function.ty(&handler.message.ty));
    let first = first_argument(handler, by_ref);
    let (taken, arguments) = arguments(&handler.function, &first, &quote!(__cqrs::role::#role<#message>));
    let returned = returned(&handler.function);
    let Some(borrowed) = output.as_ref().filter(|ty| borrow(ty).is_some()) else {
        let call = called(name, &arguments);
        return (returned, quote!(#taken #call));
    };
    let future = must_be_send(name, &arguments);
    // An answer that outlives nothing is blamed where its type is written.
    let span = borrowed.span();
    let (output, answer) = match handler.kind {
        HandlerKind::Command | HandlerKind::Query => {
            let message = handler.function.ty(&handler.message.ty);
            let answers = quote!(<#message as __cqrs::Handled>);
            (
                quote!(::core::result::Result<#answers::Response, #answers::Error>),
                quote_spanned!(span=> __cqrs::answer::<#message, #returned, _, _, _>),
            )
        }
        HandlerKind::Link => {
            let message = handler.function.ty(&handler.message.ty);
            (
                quote!(::core::result::Result<__cqrs::Link<#message>, <#message as __cqrs::Handled>::Error>),
                quote_spanned!(span=> __cqrs::link_answer::<#message, #returned, _>),
            )
        }
        HandlerKind::Event { .. } => {
            let answer = quote_spanned!(span=> __cqrs::event_answer::<#returned>);
            (quote!(::core::result::Result<(), __cqrs::BoxError>), answer)
        }
    };
    (output, quote_spanned!(span=> #taken async move { #answer(#future.await) }))
}

/// What a call's parameters are taken from.
pub(super) fn context() -> TokenStream {
    let (context, handler) = (local("context"), local("handler"));
    quote!(#context: &'c mut __cqrs::Cx<'_>, #handler: u32)
}

/// Takes the parameters, and gives the arguments of the function's call: the first, and the parameters.
///
/// Each is asked for by its type's own tokens, which an error underlines; then they are taken together.
pub(super) fn arguments(function: &Function, first: &TokenStream, role: &TokenStream) -> (TokenStream, TokenStream) {
    let (context, handler) = (local("context"), local("handler"));
    let names: Vec<_> = (0..function.params.len()).map(|number| local(&format!("p{number}"))).collect();
    let asked = function.params.iter().map(|ty| {
        let (ty, span) = (function.ty(ty), ty.span());
        quote_spanned!(span=> __cqrs::parameter::<#ty, #role>())
    });
    let taken = if names.len() <= LONGEST {
        let take = format_ident!("parameters{}", names.len());
        quote!(let (#(#names,)*) = __cqrs::#take(#context, #handler #(, #asked)*);)
    } else {
        let (pattern, asked) = (list(names.iter()), list(asked));
        quote!(let #pattern = __cqrs::parameters(#context, #handler, #asked);)
    };
    (taken, quote!(#first #(, #names)*))
}

/// The longest list of parameters that has a function of its own.
const LONGEST: usize = 5;

/// `(first, (second, ()))`.
fn list(items: impl DoubleEndedIterator<Item = impl ToTokens>) -> TokenStream {
    items.rfold(quote!(()), |rest, item| quote!((#item, #rest)))
}

/// What a handler of this kind may take is told by its role.
fn role(kind: &HandlerKind) -> TokenStream {
    match kind {
        HandlerKind::Command => quote!(CommandHandler),
        HandlerKind::Query => quote!(QueryHandler),
        HandlerKind::Link => quote!(LinkHandler),
        HandlerKind::Event { mode: EventMode::Plain, .. } => quote!(PlainEventHandler),
        HandlerKind::Event { mode: EventMode::Inline, .. } => quote!(InlineEventHandler),
        HandlerKind::Event { mode: EventMode::Durable(_), .. } => quote!(DurableEventHandler),
        HandlerKind::Event { mode: EventMode::Group(_), .. } => quote!(GroupEventHandler),
    }
}

/// Calls the function; the whole call stands at its name's place.
pub(super) fn called(name: &Ident, arguments: &TokenStream) -> TokenStream {
    let mut arguments = Group::new(Delimiter::Parenthesis, arguments.clone());
    arguments.set_span(name.span());
    quote_spanned!(name.span()=> #name #arguments)
}

/// Calls an async function. Where its future is not `Send`, its name is blamed.
pub(super) fn must_be_send(name: &Ident, arguments: &TokenStream) -> TokenStream {
    let call = called(name, arguments);
    quote_spanned!(name.span()=> __cqrs::future_must_be_send(#call))
}

/// The message as the function takes it. `by_ref`: it is another's, or its own only to look at.
fn first_argument(handler: &Handler, by_ref: bool) -> TokenStream {
    let message = local("message");
    let ty = handler.function.ty(&handler.message.ty);
    let copied = |how: TokenStream, message: TokenStream| quote!(__cqrs::Copies(__cqrs::Probe::<#ty>::CHECKED).#how::<#ty>(#message));
    let by_value = !handler.message.by_ref();
    match &handler.policy {
        None if by_ref && by_value => copied(quote!(duplicated), message.into_token_stream()),
        None => message.into_token_stream(),
        Some(_) if by_ref && by_value => copied(quote!(duplicated), quote!(#message.by_ref())),
        // Somebody may be given it after a failed attempt.
        Some(policy) if by_value && (policy.retry.is_some() || policy.fallback.is_some()) => {
            copied(quote!(given_again), quote!(#message.by_ref()))
        }
        Some(_) if by_value => quote!(#message.by_value()),
        Some(_) => quote!(#message.by_ref()),
    }
}

/// The return type by its own tokens, so that a wrong one is underlined as a whole.
pub(super) fn returned(function: &Function) -> TokenStream {
    function
        .output
        .as_ref()
        .map_or_else(|| quote_spanned!(function.name.span()=> ()), |ty| function.ty(ty).to_token_stream())
}
