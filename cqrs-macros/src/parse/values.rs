//! Values of arguments, by the Rust type that asks for them.

use std::str::FromStr;

use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Lit, LitStr, Member, Token};

use super::args::{Arg, ArgValue};

/// The argument's value has not the form its key asks for.
#[derive(Debug)]
pub(crate) struct Malformed;

/// A value an argument can have.
pub(crate) trait Value: Sized {
    fn read(arg: &Arg) -> Result<Self, Malformed>;
}

pub(super) fn given<T>(arg: &Arg, parse: impl Parser<Output = T>) -> Result<T, Malformed> {
    match &arg.value {
        ArgValue::Given(tokens) => parse.parse2(tokens.clone()).map_err(|_| Malformed),
        ArgValue::Absent | ArgValue::List(_) => Err(Malformed),
    }
}

/// A word without a value.
impl Value for () {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        match arg.value {
            ArgValue::Absent => Ok(()),
            ArgValue::Given(_) | ArgValue::List(_) => Err(Malformed),
        }
    }
}

impl Value for LitStr {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        given(arg, <Self as Parse>::parse)
    }
}

impl Value for syn::Type {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        given(arg, Self::parse)
    }
}

impl Value for syn::Path {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        given(arg, Self::parse_mod_style)
    }
}

/// The field a message is keyed by.
impl Value for Member {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        given(arg, member)
    }
}

/// A field. A keyword can only mean the field `r#type`.
pub(super) fn member(input: ParseStream<'_>) -> syn::Result<Member> {
    if input.peek(syn::Ident) || !input.peek(Ident::peek_any) {
        return input.parse();
    }
    let word = input.call(Ident::parse_any)?;
    // Some, such as `self`, cannot be raw.
    syn::parse_str::<Ident>(&format!("r#{word}"))?;
    Ok(Member::Named(Ident::new_raw(&word.to_string(), word.span())))
}

/// `[a, b]`.
impl Value for Vec<Ident> {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        given(arg, |input: ParseStream<'_>| {
            let words;
            syn::bracketed!(words in input);
            Ok(Punctuated::<Ident, Token![,]>::parse_terminated(&words)?.into_iter().collect())
        })
    }
}

/// A pattern, with a guard or without, as in an arm of `match`.
#[derive(Debug)]
pub(crate) struct Arm {
    pub(crate) pattern: syn::Pat,
    pub(crate) guard: Option<syn::Expr>,
}

impl Parse for Arm {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let pattern = syn::Pat::parse_multi_with_leading_vert(input)?;
        let guard = input.parse::<Option<Token![if]>>()?.map(|_| input.parse()).transpose()?;
        Ok(Self { pattern, guard })
    }
}

/// `[Error::A, Error::B(_)]`.
impl Value for Vec<Arm> {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        given(arg, |input: ParseStream<'_>| {
            let arms;
            syn::bracketed!(arms in input);
            Ok(Punctuated::<Arm, Token![,]>::parse_terminated(&arms)?.into_iter().collect())
        })
    }
}

/// `(..)`.
impl Value for TokenStream {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        match &arg.value {
            ArgValue::List(group) => Ok(group.stream()),
            ArgValue::Absent | ArgValue::Given(_) => Err(Malformed),
        }
    }
}

/// A number, its sign included. Whether it is in range is not looked at here: `i128` holds every literal that makes sense.
fn number<T: FromStr>(arg: &Arg, digits: impl Fn(&Lit) -> Option<String>) -> Result<T, Malformed> {
    let (negative, literal) = given(arg, |input: ParseStream<'_>| {
        let negative = input.parse::<Option<Token![-]>>()?.is_some();
        Ok((negative, input.parse::<Lit>()?))
    })?;
    let sign = if negative { "-" } else { "" };
    let digits = digits(&literal).ok_or(Malformed)?;
    format!("{sign}{digits}").parse().map_err(|_| Malformed)
}

impl Value for i128 {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        number(arg, |literal| match literal {
            Lit::Int(int) if int.suffix().is_empty() => Some(int.base10_digits().to_owned()),
            _ => None,
        })
    }
}

impl Value for f64 {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        number(arg, |literal| match literal {
            Lit::Int(int) if int.suffix().is_empty() => Some(int.base10_digits().to_owned()),
            Lit::Float(float) if float.suffix().is_empty() => Some(float.base10_digits().to_owned()),
            _ => None,
        })
    }
}
