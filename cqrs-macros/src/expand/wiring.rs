//! Providers and middleware.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::registration::{name_and_location, registration};
use super::thunk::{local, must_be_send, returned};
use crate::model::{CallKind, Function, Middleware, Provider, Scope};

/// The registration of a provider.
pub(crate) fn provider(provider: &Provider) -> TokenStream {
    let function = &provider.function;
    let (scope, role) = match provider.scope {
        Scope::App => (quote!(App), quote!(__cqrs::role::AppProvider)),
        Scope::Message => (quote!(Message), quote!(__cqrs::role::MessageProvider)),
    };
    let name = &function.name;
    let output = function.ty(&provider.output);
    let origin = name_and_location(function);
    let needs = needs(function, &role);
    let (resolver, value) = (local("resolver"), local("value"));
    let params = dependencies(function, &role);
    let call = if function.is_async {
        let future = must_be_send(name, &quote!(#(#params),*));
        quote!(#future.await)
    } else {
        quote!(#name(#(#params),*))
    };
    let resolver = resolver_pattern(function, &resolver);
    // What cannot be kept is blamed where its type is written.
    let kept = quote_spanned!(provider.output.span()=>
        __cqrs::Shaped((&&&__cqrs::Provided::<#output>::new()).shape()).provided::<#output>(#value)
    );
    // Method resolution tries the four traits by one reference at a time; only one of them is used.
    let item = quote! {
        {
            #[allow(unused_imports)]
            use __cqrs::{ProvidedArc as _, ProvidedResult as _, ProvidedResultArc as _, ProvidedValue as _};
            __cqrs::ProviderItem::new(
                __cqrs::ProviderScope::#scope,
                #origin,
                #needs,
                || __cqrs::Shaped((&&&__cqrs::Provided::<#output>::new()).shape()).target::<#output>(),
                |#resolver| ::std::boxed::Box::pin(async move {
                    let #value = #call;
                    #kept
                }),
            )
        }
    };
    registration(function, &TokenStream::new(), &quote!(ProviderItem), &item)
}

/// The registration of a middleware.
pub(crate) fn middleware(middleware: &Middleware) -> TokenStream {
    let function = &middleware.function;
    let role = quote!(__cqrs::role::Middleware);
    let name = &function.name;
    let order = middleware.order;
    let origin = name_and_location(function);
    let kinds = kinds(&middleware.kinds);
    let needs = needs(function, &role);
    let params = dependencies(function, &role);
    let (call, next, resolver) = (local("call"), local("next"), local("resolver"));
    let (first, second) = (function.ty(&middleware.call), function.ty(&middleware.next));
    let future = must_be_send(
        name,
        &quote!(__cqrs::middleware_call::<#first>(#call), __cqrs::middleware_next::<#second>(#next) #(, #params)*),
    );
    let outcome = returned(function);
    let resolver = resolver_pattern(function, &resolver);
    let value = quote! {
        __cqrs::MiddlewareItem::new(
            #origin,
            #order,
            #kinds,
            #needs,
            |#call, #next, #resolver| ::std::boxed::Box::pin(async move {
                __cqrs::middleware_outcome::<#outcome>(#future.await)
            }),
        )
    };
    registration(function, &TokenStream::new(), &quote!(MiddlewareItem), &value)
}

fn needs(function: &Function, role: &TokenStream) -> TokenStream {
    let params = function.params.iter().map(|ty| function.ty(ty));
    quote!(&[#(<#params as __cqrs::ProviderParam<'static, #role>>::NEED),*])
}

fn dependencies(function: &Function, role: &TokenStream) -> impl Iterator<Item = TokenStream> {
    let resolver = local("resolver");
    function.params.iter().map(move |ty| {
        let ty = function.ty(ty);
        quote!(__cqrs::dependency::<#ty, #role>(&mut #resolver))
    })
}

/// The closure's parameter: unused where the function asks for nothing.
fn resolver_pattern(function: &Function, resolver: &proc_macro2::Ident) -> TokenStream {
    if function.params.is_empty() { quote!(_) } else { quote!(mut #resolver) }
}

fn kinds(kinds: &[CallKind]) -> TokenStream {
    if kinds.is_empty() {
        return quote!(__cqrs::MiddlewareKinds::ALL);
    }
    let fields = kinds.iter().map(|kind| match kind {
        CallKind::Command => quote!(command),
        CallKind::Query => quote!(query),
        CallKind::Stream => quote!(stream),
        CallKind::Event => quote!(event),
        CallKind::Step => quote!(step),
    });
    // Naming every kind leaves nothing for `..NONE` to fill in, which the compiler accepts and clippy does not.
    if kinds.len() == 5 {
        return quote!(__cqrs::MiddlewareKinds::ALL);
    }
    quote!(__cqrs::MiddlewareKinds { #(#fields: true,)* ..__cqrs::MiddlewareKinds::NONE })
}
