//! What every registered function must be: free, concrete, safe, with parameters that can be told by type.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Attribute, FnArg, GenericParam, PatType, ReturnType, Signature, Type};

use crate::diag::{Sink, catalogue};
use crate::model::{CratePath, Function};
use crate::parse::{FnItem, Place, borrow, object_lifetime};

/// Whether a function of this kind has to be async.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asyncness {
    Required,
    Either,
}

/// A signature that was checked on its own, its parameters in order.
#[derive(Debug)]
pub(super) struct Checked<'f> {
    pub(super) place: Place,
    pub(super) sig: &'f Signature,
    pub(super) params: Vec<&'f PatType>,
    item: &'f FnItem,
}

/// Checks all that does not depend on what the single parameters mean, up to the return type.
pub(super) fn signature<'f>(place: Place, item: &'f FnItem, asyncness: Asyncness, sink: &Sink) -> Checked<'f> {
    let sig = &item.sig;
    // Only `unsafe extern` functions can be variadic: that alone would be three errors.
    if sig.variadic.is_none() {
        qualifiers(place, sig, asyncness, sink);
    }
    generics(place, sig, sink);
    let params = params(place, sig, sink);
    Checked { place, sig, params, item }
}

fn qualifiers(place: Place, sig: &Signature, asyncness: Asyncness, sink: &Sink) {
    let forbidden = |tokens: &dyn ToTokens, word: &str| {
        sink.at(tokens.to_token_stream(), catalogue::forbidden_qualifier(place, &sig.ident, word));
    };
    if let Some(token) = &sig.constness {
        forbidden(token, "const");
    }
    match &sig.safety {
        syn::Safety::Unsafe(token) => forbidden(token, "unsafe"),
        syn::Safety::Safe(token) => forbidden(token, "safe"),
        syn::Safety::Default => {}
    }
    if let Some(token) = &sig.abi {
        forbidden(token, "extern");
    }
    // A `const fn` cannot be async: saying both would be one mistake too many.
    if asyncness == Asyncness::Required && sig.asyncness.is_none() && sig.constness.is_none() {
        sink.at(sig.fn_token, catalogue::not_async(place, &sig.ident));
    }
}

fn generics(place: Place, sig: &Signature, sink: &Sink) {
    let is_lifetime = |param: &GenericParam| matches!(param, GenericParam::Lifetime(_));
    if let Some(first) = sig.generics.params.iter().find(|param| !is_lifetime(param)) {
        sink.at(first, catalogue::generic_function(place, &sig.ident));
    }
}

fn params<'f>(place: Place, sig: &'f Signature, sink: &Sink) -> Vec<&'f PatType> {
    let mut typed = Vec::new();
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => sink.at(receiver, catalogue::method(place, &sig.ident)),
            FnArg::Typed(param) => typed.push(param),
        }
    }
    let mut exclusive: Vec<String> = Vec::new();
    for param in &typed {
        if let Some(attr) = param.attrs.iter().find(|attr| is_cfg(attr)) {
            sink.at(attr, catalogue::conditional_parameter(place, &sig.ident));
        }
        if let Some(opaque) = opaque_type(&param.ty) {
            sink.at(opaque, catalogue::opaque_parameter(place, &sig.ident));
        }
        if let Some(name) = exclusive_type(&param.ty) {
            if exclusive.contains(&name) {
                sink.at(&param.ty, catalogue::repeated_parameter(place, &sig.ident, &format!("&mut {name}")));
            }
            exclusive.push(name);
        }
    }
    if let Some(variadic) = &sig.variadic {
        sink.at(variadic, catalogue::variadic_function(place, &sig.ident));
    }
    typed
}

fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr")
}

/// The `impl Trait` in a type, found as a word: `impl` is reserved, so it cannot mean anything else.
pub(super) fn opaque_type(ty: &Type) -> Option<TokenStream> {
    if matches!(ty, Type::ImplTrait(_)) {
        return Some(ty.to_token_stream());
    }
    find_impl(ty.to_token_stream()).map(ToTokens::into_token_stream)
}

fn find_impl(tokens: TokenStream) -> Option<Ident> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) if ident == "impl" => Some(ident),
        TokenTree::Group(group) => find_impl(group.stream()),
        _ => None,
    })
}

fn is_future(opaque: &TokenStream) -> bool {
    opaque.clone().into_iter().any(|token| matches!(token, TokenTree::Ident(ident) if ident == "Future"))
}

/// What `&mut T` points to, its lifetimes left out, in the user's spelling.
fn exclusive_type(ty: &Type) -> Option<String> {
    match ty {
        Type::Group(group) => exclusive_type(&group.elem),
        Type::Paren(paren) => exclusive_type(&paren.elem),
        Type::Reference(reference) if reference.mutability.is_some() => {
            Some(spelling(&reference.elem.to_token_stream()))
        }
        _ => None,
    }
}

/// Tokens as a user would write a type.
fn spelling(tokens: &TokenStream) -> String {
    tokens.to_string().replace(" :: ", "::").replace(" < ", "<").replace(" >", ">").replace(" ,", ",")
}

impl Checked<'_> {
    /// Checks the return type, as far as that can be done without types.
    pub(super) fn output(&self, sink: &Sink) {
        let (ReturnType::Type(_, ty), name) = (&self.sig.output, &self.sig.ident) else { return };
        if let Some(opaque) = opaque_type(ty) {
            // `fn place() -> impl Future` is short of `async`, which is an error already.
            if self.sig.asyncness.is_some() || self.place == Place::Provider || !is_future(&opaque) {
                sink.at(opaque, catalogue::opaque_output(self.place, name));
            }
        } else if let Some(lifetime) = object_lifetime(ty) {
            sink.at(lifetime, catalogue::borrowed_object(self.place, name));
        } else if matches!(self.place, Place::Fallback | Place::SagaStep | Place::Compensation)
            && let Some(borrow) = borrow(ty)
        {
            sink.at(borrow, catalogue::borrowed_output(self.place, name));
        }
    }

    /// The function, with the parameters from `first` on as those to be told by type.
    pub(super) fn function(&self, first: usize, krate: CratePath) -> Function {
        let lifetimes = self.sig.generics.params.iter().filter_map(|param| match param {
            GenericParam::Lifetime(param) => Some(param.lifetime.ident.clone()),
            GenericParam::Type(_) | GenericParam::Const(_) => None,
        });
        Function {
            name: self.sig.ident.clone(),
            cfgs: self.item.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect(),
            vis: self.item.vis.clone(),
            is_async: self.sig.asyncness.is_some(),
            lifetimes: lifetimes.collect(),
            params: self.params.iter().skip(first).map(|param| (*param.ty).clone()).collect(),
            output: match &self.sig.output {
                ReturnType::Default => None,
                ReturnType::Type(_, ty) => Some((**ty).clone()),
            },
            krate,
        }
    }

    /// The pair of parentheses around the parameters, as tokens to point at.
    pub(super) fn parentheses(&self) -> TokenStream {
        let mut group = Group::new(Delimiter::Parenthesis, TokenStream::new());
        group.set_span(self.sig.paren_token.span.join());
        quote!(#group)
    }
}
