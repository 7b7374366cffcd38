//! The impls of a message type.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{GenericParam, Generics, Lifetime};

use super::registration::location;
use super::thunk::local;
use crate::model::{Answer, Message, MessageKind, WireFormat};
use crate::parse::borrows_at_all;

/// Who reads the expansion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Compiler,
    /// It leaves out impls with a bound that is about no parameter, and checks nothing.
    Rustdoc,
}

/// The impls, and the registration of a type that is not generic.
pub(crate) fn message(message: &Message, reader: Reader) -> TokenStream {
    let krate = &message.krate;
    let generics = Impl::new(message, reader);
    let spec = spec(message, &generics);
    let kind_impls = kind_impls(message, &generics);
    let check = &generics.check;
    let register = generics.is_concrete.then(|| {
        let ty = &generics.ty;
        quote!(__cqrs::inventory::submit! { __cqrs::MessageItem::of::<#ty>() })
    });
    quote! {
        #[allow(deprecated)]
        const _: () = {
            use #krate::__private as __cqrs;
            #check
            #spec
            #kind_impls
            #register
        };
    }
}

/// What stands around the body of an impl.
pub(super) struct Impl {
    /// Asks once whether the type can be a message, so that one mistake is one error.
    pub(super) check: TokenStream,
    params: TokenStream,
    pub(super) ty: TokenStream,
    bounds: TokenStream,
    is_concrete: bool,
}

impl Impl {
    pub(super) fn new(message: &Message, reader: Reader) -> Self {
        let ident = &message.ident;
        let generics = without_lifetimes(&message.generics);
        let (params, _, written) = generics.split_for_impl();
        let args = message.generics.params.iter().map(argument);
        let ty = if message.generics.params.is_empty() {
            quote!(#ident)
        } else {
            // All of it at the name, where its errors belong.
            quote_spanned!(ident.span()=> #ident<#(#args),*>)
        };
        let mut bounds = match written {
            Some(clause) if clause.predicates.empty_or_trailing() => quote!(#clause),
            Some(clause) => quote!(#clause,),
            None => quote!(where),
        };
        let types = generics.type_params().map(|param| &param.ident);
        bounds.extend(quote!(#(#types: ::core::marker::Send + ::core::marker::Sync + 'static,)*));
        let is_concrete = generics.params.is_empty();
        let is_saga = message.kind == MessageKind::Saga;
        let checked = if is_saga { quote!(checked_context) } else { quote!(checked_message) };
        let check = if is_concrete {
            // Where this constant is an error, the impls that depend on it bring none, and stand for every use.
            if reader == Reader::Compiler {
                bounds.extend(quote!(__Checked:));
            }
            quote!(
                type __Checked = [(); __cqrs::#checked::<#ty>()];
            )
        } else {
            let check = quote! {
                #[allow(dead_code, clippy::multiple_bound_locations)]
                const fn __checked #params() -> usize #bounds {
                    __cqrs::checked_message::<#ty>()
                }
            };
            bounds.extend(quote!(#ty: __cqrs::Shareable));
            if is_saga {
                bounds.extend(quote!(+ __cqrs::Keepable));
            }
            check
        };
        Self { check, params: quote!(#params), ty, bounds, is_concrete }
    }

    pub(super) fn of(&self, name: &TokenStream, body: &TokenStream) -> TokenStream {
        let Self { params, ty, bounds, .. } = self;
        quote! {
            #[automatically_derived]
            impl #params __cqrs::#name for #ty #bounds { #body }
        }
    }
}

/// A lifetime parameter was refused; with `'static` in its place the impls still stand.
fn without_lifetimes(generics: &Generics) -> Generics {
    let params = generics.params.iter().filter(|param| !matches!(param, GenericParam::Lifetime(_)));
    Generics { params: params.cloned().collect(), ..generics.clone() }
}

fn argument(param: &GenericParam) -> TokenStream {
    match param {
        GenericParam::Lifetime(_) => Lifetime::new("'static", Span::call_site()).into_token_stream(),
        GenericParam::Type(param) => param.ident.to_token_stream(),
        GenericParam::Const(param) => param.ident.to_token_stream(),
    }
}

pub(super) fn spec(message: &Message, generics: &Impl) -> TokenStream {
    let kind = format_ident!("{}", message.kind.derive());
    let streaming = matches!(message.answer, Answer::Stream { .. });
    let Message { name, version, topic, .. } = message;
    let location = location();
    let key = key(message);
    let codec = codec(message, generics);
    let path = path(message, generics);
    let wire = wire(message);
    let upgrades = upgrades(message);
    let checked = if generics.is_concrete { quote!(__Checked) } else { quote!(()) };
    generics.of(
        &quote!(Message),
        &quote! {
            type Checked = #checked;
            const SPEC: &'static __cqrs::MessageSpec = &__cqrs::MessageSpec {
                kind: __cqrs::MessageKind::#kind,
                streaming: #streaming,
                name: #name,
                version: #version,
                topic: #topic,
                type_id: ::core::any::TypeId::of::<Self>(),
                path: #path,
                location: #location,
                key: #key,
                codec: #codec,
                wire: #wire,
                upgrades: #upgrades,
            };
        },
    )
}

/// The type's path in words.
fn path(message: &Message, generics: &Impl) -> TokenStream {
    if !generics.is_concrete {
        return quote!(__cqrs::TypePath::Asked(::core::any::type_name::<Self>));
    }
    let name = message.ident.unraw().to_string();
    quote!(__cqrs::TypePath::Written(::core::concat!(::core::module_path!(), "::", #name)))
}

fn key(message: &Message) -> TokenStream {
    let Some(field) = &message.key else { return quote!(::core::option::Option::None) };
    let (erased, read) = (local("message"), local("event"));
    // A field that is no `Display` is blamed where the attribute names it.
    let span = field.span();
    let read = quote_spanned!(span=> __cqrs::key::<Self, _>(#erased, |#read| &#read.#field));
    quote!(::core::option::Option::Some(|#erased| #read))
}

fn wire(message: &Message) -> TokenStream {
    let Some(wire) = &message.wire else { return quote!(::core::option::Option::None) };
    let variant = format_ident!("{}", wire.format.variant());
    quote!(::core::option::Option::Some(__cqrs::WireFormat::#variant))
}

/// How the version before becomes this one. Whatever is wrong with it is blamed where the attribute names it.
fn upgrades(message: &Message) -> TokenStream {
    let Some(earlier) = &message.upgrades else { return quote!(::core::option::Option::None) };
    let (name, version) = (&message.name, message.version);
    let upgrade = quote_spanned!(earlier.span()=> __cqrs::Upgrade::of::<#earlier, Self>(#name, #version));
    quote!(::core::option::Option::Some(&const { #upgrade }))
}

/// Protocol Buffers, where the attribute asks for them. Whether the type can be written so is asked at the attribute's word.
fn protobuf(message: &Message) -> Option<TokenStream> {
    let wire = message.wire.as_ref().filter(|wire| wire.format == WireFormat::Protobuf)?;
    let asked = quote_spanned!(wire.at=> __cqrs::protobuf_of! { Self });
    Some(quote!(protobuf: #asked,))
}

/// What the type can do. Calls are stored or they are not; an event that is only published has to be written alone.
fn codec(message: &Message, generics: &Impl) -> TokenStream {
    if !generics.is_concrete {
        return quote!(__cqrs::Codec::NONE);
    }
    let stored = match message.kind {
        MessageKind::Command | MessageKind::Query => quote!(..__cqrs::Probe::<Self>::STORED),
        MessageKind::DomainEvent | MessageKind::NotificationEvent | MessageKind::Saga => quote! {
            encode: __cqrs::Probe::<Self>::ENCODE,
            decode: __cqrs::Probe::<Self>::DECODE,
            ..__cqrs::Codec::NONE
        },
    };
    let protobuf = protobuf(message);
    quote! {
        {
            #[allow(unused_imports)]
            use __cqrs::ProbeFallback as _;
            __cqrs::Codec {
                #protobuf
                duplicate: __cqrs::Probe::<Self>::DUPLICATE,
                debug: __cqrs::Probe::<Self>::DEBUG,
                #stored
            }
        }
    }
}

fn kind_impls(message: &Message, generics: &Impl) -> TokenStream {
    let nothing = TokenStream::new();
    let (marker, any) = match message.kind {
        MessageKind::Command => (quote!(Command), quote!(AnyCommand)),
        MessageKind::Query => (quote!(Query), quote!(AnyQuery)),
        MessageKind::DomainEvent | MessageKind::NotificationEvent => {
            let kind = format_ident!("{}", message.kind.derive());
            let event = generics.of(&quote!(Event), &nothing);
            let kind = generics.of(&quote!(#kind), &nothing);
            return quote!(#event #kind);
        }
        // What its context is besides is written where its steps are.
        MessageKind::Saga => return nothing,
    };
    let unit = quote!(());
    let no_error = quote!(__cqrs::BoxError);
    let (response, error, last) = match &message.answer {
        Answer::Stream { item, error } => {
            (unit, error, generics.of(&quote!(Streaming), &associated("Item", &item.to_token_stream())))
        }
        Answer::Once { response, error } => {
            (response.as_ref().map_or(unit, ToTokens::to_token_stream), error, generics.of(&marker, &nothing))
        }
        Answer::None => (unit, &None, nothing.clone()),
    };
    let error = error.as_ref().map_or(no_error, ToTokens::to_token_stream);
    let response = associated("Response", &response);
    let error_type = associated("Error", &error);
    let keyed = may_take_a_key(message).then(|| quote!(, keyed));
    let handled = generics.of(
        &quote!(Handled),
        &quote! {
            #response
            #error_type
            __cqrs::web_of! { #error #keyed }
        },
    );
    let any = generics.of(&any, &nothing);
    quote!(#handled #any #last)
}

/// `type Response = OrderId;`, at the place of `OrderId`: what is private there is blamed there.
fn associated(name: &str, ty: &TokenStream) -> TokenStream {
    let name = Ident::new(name, ty.span());
    quote_spanned!(ty.span()=> type #name = #ty;)
}

/// Whether it is worth asking if calls of the message take an idempotency key. A response that borrows, such as
/// `&'static str`, cannot be read back, and asking would be an error: what is selected by its bounds is selected whatever
/// the lifetimes in them say.
fn may_take_a_key(message: &Message) -> bool {
    match &message.answer {
        Answer::Once { response, .. } => {
            message.kind == MessageKind::Command && !response.as_ref().is_some_and(borrows_at_all)
        }
        Answer::Stream { .. } | Answer::None => false,
    }
}
