//! The list `key`, `key = value`, `key(..)`: tolerant, so that one malformed argument does not hide the others.

use proc_macro2::{Delimiter, Group, Ident, Spacing, TokenStream, TokenTree};
use quote::ToTokens;

/// One argument.
#[derive(Debug, Clone)]
pub(crate) struct Arg {
    pub(crate) key: Ident,
    pub(crate) value: ArgValue,
}

/// What follows an argument's key.
#[derive(Debug, Clone)]
pub(crate) enum ArgValue {
    /// Nothing.
    Absent,
    /// `= tokens`, which may be none.
    Given(TokenStream),
    /// `(..)`.
    List(Group),
}

impl ToTokens for Arg {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.key.to_tokens(tokens);
        match &self.value {
            ArgValue::Absent => {}
            ArgValue::Given(value) => value.to_tokens(tokens),
            ArgValue::List(group) => group.to_tokens(tokens),
        }
    }
}

/// Splits `input` at its commas. What is no argument at all comes back as it is.
pub(crate) fn arguments(input: TokenStream) -> Vec<Result<Arg, TokenStream>> {
    split(input).into_iter().map(argument).collect()
}

fn argument(tokens: Vec<TokenTree>) -> Result<Arg, TokenStream> {
    match tokens.as_slice() {
        [TokenTree::Ident(key)] => Ok(Arg { key: key.clone(), value: ArgValue::Absent }),
        [TokenTree::Ident(key), TokenTree::Group(group)] if group.delimiter() == Delimiter::Parenthesis => {
            Ok(Arg { key: key.clone(), value: ArgValue::List(group.clone()) })
        }
        [TokenTree::Ident(key), TokenTree::Punct(equals), value @ ..]
            if equals.as_char() == '=' && equals.spacing() == Spacing::Alone || is_path_value(&tokens) =>
        {
            Ok(Arg { key: key.clone(), value: ArgValue::Given(value.iter().cloned().collect()) })
        }
        _ => Err(tokens.into_iter().collect()),
    }
}

/// Whether this is `key =::path`, where the equals sign is not alone.
fn is_path_value(tokens: &[TokenTree]) -> bool {
    matches!(
        tokens,
        [_, TokenTree::Punct(equals), TokenTree::Punct(next), ..]
            if equals.as_char() == '=' && matches!(next.as_char(), ':' | '&' | '<' | '-')
    )
}

/// Splits at commas outside of `<..>`, since types are values.
pub(super) fn split(input: TokenStream) -> Vec<Vec<TokenTree>> {
    let mut parts = vec![Vec::new()];
    let mut depth = 0_usize;
    let mut after_dash = false;
    for token in input {
        let char = match &token {
            TokenTree::Punct(punct) => Some(punct.as_char()),
            _ => None,
        };
        match char {
            Some('<') => depth += 1,
            // The arrow of `fn() -> T` closes nothing.
            Some('>') if !after_dash => depth = depth.saturating_sub(1),
            _ => {}
        }
        after_dash = char == Some('-');
        match (char, depth, parts.last_mut()) {
            (Some(','), 0, _) => parts.push(Vec::new()),
            (_, _, Some(part)) => part.push(token),
            (_, _, None) => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}
