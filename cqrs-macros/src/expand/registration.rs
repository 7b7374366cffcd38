//! What is around every registration.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;

use crate::model::Function;

/// Registers `value`, a constant of the type `item` made of `definitions`, with the function's own `cfg`s.
pub(super) fn registration(
    function: &Function,
    definitions: &TokenStream,
    item: &TokenStream,
    value: &TokenStream,
) -> TokenStream {
    let Function { cfgs, krate, .. } = function;
    quote! {
        #(#cfgs)*
        #[allow(deprecated)]
        const _: () = {
            use #krate::__private as __cqrs;
            #definitions
            // A constant of its own keeps `submit!`, which copies its input, from copying the checks of it.
            const __ITEM: __cqrs::#item = #value;
            __cqrs::inventory::submit! { __ITEM }
        };
    }
}

/// The function's name and place, as every item asks for them.
pub(super) fn name_and_location(function: &Function) -> TokenStream {
    let name = function.name.unraw().to_string();
    let location = location();
    quote!(#name, #location)
}

/// Where the macro stands.
pub(super) fn location() -> TokenStream {
    quote! {
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        }
    }
}
