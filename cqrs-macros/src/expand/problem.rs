//! The impl of an error that a client is told of.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use crate::model::{Case, Problem, Says, Told};

/// The impl, and the registration of a type that is not generic.
pub(crate) fn problem(problem: &Problem) -> TokenStream {
    let Problem { ident, generics, krate, .. } = problem;
    let (params, args, written) = generics.split_for_impl();
    let is_concrete = generics.params.is_empty();
    // Only where it has parameters: what is concrete either is `Display` or is wrong.
    let bounds = if is_concrete {
        quote!(#written)
    } else {
        let start = match written {
            Some(clause) if clause.predicates.empty_or_trailing() => quote!(#clause),
            Some(clause) => quote!(#clause,),
            None => quote!(where),
        };
        quote!(#start #ident #args: ::core::fmt::Display)
    };
    let body = body(problem);
    let register = is_concrete.then(|| {
        quote! {
            const __ITEM: __cqrs::ProblemItem = {
                #[allow(unused_imports)]
                use __cqrs::ProblemFallback as _;
                __cqrs::ProblemItem::new(__cqrs::ProblemProbe::<#ident>::RECOGNISE)
            };
            __cqrs::inventory::submit! { __ITEM }
        }
    });
    quote! {
        #[allow(deprecated, unused_qualifications)]
        const _: () = {
            use #krate::__private as __cqrs;
            #[automatically_derived]
            impl #params __cqrs::Problem for #ident #args #bounds {
                fn problem(&self) -> ::core::option::Option<__cqrs::ProblemDetails> {
                    #body
                }
            }
            #register
        };
    }
}

fn body(problem: &Problem) -> TokenStream {
    let otherwise = problem.told.as_ref().map_or_else(|| quote!(::core::option::Option::None), told);
    if problem.cases.is_empty() {
        return otherwise;
    }
    let arms = problem.cases.iter().map(|Case { variant, says }| match says {
        Says::Own(case) => {
            let told = told(case);
            quote!(Self::#variant { .. } => #told,)
        }
        Says::Field(member, ty) => {
            // One that says nothing itself is blamed where its type is written.
            let ask = quote_spanned!(ty.span()=> <#ty as __cqrs::Problem>::problem);
            quote!(Self::#variant { #member: __held } => #ask(__held),)
        }
    });
    let rest = (!problem.covered).then(|| quote!(_ => #otherwise,));
    quote!(match self { #(#arms)* #rest })
}

fn told(told: &Told) -> TokenStream {
    let Told { status, title, type_uri } = told;
    let (title, type_uri) = (optional(title.as_deref()), optional(type_uri.as_deref()));
    quote!(::core::option::Option::Some(__cqrs::derived(self, #status, #title, #type_uri)))
}

fn optional(text: Option<&str>) -> TokenStream {
    text.map_or_else(|| quote!(::core::option::Option::None), |text| quote!(::core::option::Option::Some(#text)))
}
