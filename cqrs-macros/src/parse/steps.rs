//! The values that only sagas have: a list of steps, the fields by which an event is found, a way back.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Member, Path, Token};

use super::args::{Arg, split};
use super::values::{Malformed, Value, given, member};

/// A place in `steps = [..]` as it is written.
#[derive(Debug)]
pub(crate) enum WrittenPlace {
    Step(WrittenStep),
    /// `(a, b)`, with its own tokens.
    Group(TokenStream, Vec<Self>),
    Other(TokenStream),
}

/// `reserve`, `stock::reserve`, `reserve as reserve_again`.
#[derive(Debug, Clone)]
pub(crate) struct WrittenStep {
    pub(crate) path: Path,
    pub(crate) name: Option<Ident>,
}

/// `[a, b as c, (d, e)]`. What is none of these does not hide the others.
impl Value for Vec<WrittenPlace> {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        given(arg, |input: ParseStream<'_>| {
            let list;
            syn::bracketed!(list in input);
            Ok(places(list.parse()?))
        })
    }
}

fn places(list: TokenStream) -> Vec<WrittenPlace> {
    split(list).into_iter().map(place).collect()
}

fn place(tokens: Vec<TokenTree>) -> WrittenPlace {
    if let [TokenTree::Group(group)] = tokens.as_slice()
        && group.delimiter() == proc_macro2::Delimiter::Parenthesis
    {
        return WrittenPlace::Group(group.to_token_stream(), places(group.stream()));
    }
    let tokens: TokenStream = tokens.into_iter().collect();
    let step = |input: ParseStream<'_>| {
        let path = Path::parse_mod_style(input)?;
        let name = input.parse::<Option<Token![as]>>()?.map(|_| input.parse()).transpose()?;
        Ok(WrittenStep { path, name })
    };
    step.parse2(tokens.clone()).map_or(WrittenPlace::Other(tokens), WrittenPlace::Step)
}

/// `order`, or `(order, order_id)`: a field of the context and one of the event.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) of_context: Member,
    pub(crate) of_event: Member,
}

impl Value for Fields {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        given(arg, |input: ParseStream<'_>| {
            if !input.peek(syn::token::Paren) {
                let field = member(input)?;
                return Ok(Self { of_context: field.clone(), of_event: field });
            }
            let pair;
            syn::parenthesized!(pair in input);
            let of_context = member(&pair)?;
            pair.parse::<Token![,]>()?;
            let of_event = member(&pair)?;
            pair.parse::<Option<Token![,]>>()?;
            Ok(Self { of_context, of_event })
        })
    }
}

/// `compensate = release`, `compensate = none`.
#[derive(Debug)]
pub(crate) enum Back {
    Nothing,
    By(Path),
}

impl Value for Back {
    fn read(arg: &Arg) -> Result<Self, Malformed> {
        let path = Path::read(arg)?;
        Ok(if path.is_ident("none") { Self::Nothing } else { Self::By(path) })
    }
}
