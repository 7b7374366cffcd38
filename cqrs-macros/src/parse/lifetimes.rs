//! What a type borrows, as far as its tokens show: `&T`, `E<'_>`, `Box<dyn Error + 'a>`.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::Type;

/// The first borrow in a type, to point at. `'static` is none.
pub(crate) fn borrow(ty: &Type) -> Option<TokenStream> {
    Static::of(ty.to_token_stream()).first
}

/// Whether a type borrows anything, for however long: `&'static str`, too.
pub(crate) fn borrows_at_all(ty: &Type) -> bool {
    fn any(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Punct(punct) => matches!(punct.as_char(), '&' | '\''),
            TokenTree::Group(group) => any(group.stream()),
            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
        })
    }
    any(ty.to_token_stream())
}

/// The type with `'static` for everything it borrows.
pub(crate) fn made_static(ty: &Type) -> Type {
    let made = Static::of(ty.to_token_stream());
    if made.first.is_none() {
        return ty.clone();
    }
    syn::parse2(made.tokens).unwrap_or_else(|_| ty.clone())
}

/// The lifetime of a trait object that borrows, `'_` in `Box<dyn Error + '_>`: in a type no other one follows a `+`.
pub(crate) fn object_lifetime(ty: &Type) -> Option<TokenStream> {
    fn find(tokens: TokenStream) -> Option<TokenStream> {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let here = tokens.windows(3).find_map(|three| match three {
            [plus, quote, TokenTree::Ident(name)] if is(plus, '+') && is(quote, '\'') && name != "static" => {
                Some(quote!(#quote #name))
            }
            _ => None,
        });
        here.or_else(|| {
            tokens.into_iter().find_map(|token| match token {
                TokenTree::Group(group) => find(group.stream()),
                _ => None,
            })
        })
    }
    find(ty.to_token_stream())
}

fn is(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

/// Tokens with `'static` for every other lifetime.
#[derive(Default)]
struct Static {
    tokens: TokenStream,
    first: Option<TokenStream>,
    /// What a `for<'a>` has bound is nobody's borrow.
    bound: Vec<Ident>,
}

impl Static {
    fn of(tokens: TokenStream) -> Self {
        let mut made = Self::default();
        made.read(&tokens.into_iter().collect::<Vec<_>>());
        made
    }

    fn read(&mut self, mut rest: &[TokenTree]) {
        while let [token, after @ ..] = rest {
            rest = match (token, after) {
                (and, [quote, TokenTree::Ident(name), after @ ..]) if is(and, '&') && is(quote, '\'') => {
                    self.tokens.extend([and.clone()]);
                    self.lifetime(quote, name, quote!(#and #quote #name));
                    after
                }
                (and, _) if is(and, '&') => {
                    self.first.get_or_insert_with(|| and.to_token_stream());
                    self.tokens.extend(quote!(#and 'static));
                    after
                }
                (quote, [TokenTree::Ident(name), after @ ..]) if is(quote, '\'') => {
                    self.lifetime(quote, name, quote!(#quote #name));
                    after
                }
                (TokenTree::Ident(word), _) if word == "for" => {
                    let binder = after.iter().position(|token| is(token, '>')).map_or(after, |end| &after[..end]);
                    self.bound.extend(binder.iter().filter_map(|token| match token {
                        TokenTree::Ident(name) => Some(name.clone()),
                        _ => None,
                    }));
                    self.tokens.extend([token.clone()]);
                    after
                }
                // The arguments of `fn(&T)` and `Fn(&T)` borrow for the time of their call.
                (TokenTree::Ident(_), [TokenTree::Group(arguments), after @ ..])
                    if arguments.delimiter() == Delimiter::Parenthesis =>
                {
                    self.tokens.extend([token.clone(), TokenTree::Group(arguments.clone())]);
                    after
                }
                (TokenTree::Group(group), _) => {
                    self.group(group);
                    after
                }
                _ => {
                    self.tokens.extend([token.clone()]);
                    after
                }
            };
        }
    }

    fn lifetime(&mut self, quote: &TokenTree, name: &Ident, borrow: TokenStream) {
        let own = name == "static" || self.bound.contains(name);
        if !own {
            self.first.get_or_insert(borrow);
        }
        let name = if own { name.clone() } else { Ident::new("static", name.span()) };
        self.tokens.extend([quote.clone(), TokenTree::Ident(name)]);
    }

    fn group(&mut self, group: &Group) {
        let outer = std::mem::take(&mut self.tokens);
        self.read(&group.stream().into_iter().collect::<Vec<_>>());
        let mut made = Group::new(group.delimiter(), std::mem::replace(&mut self.tokens, outer));
        made.set_span(group.span());
        self.tokens.extend([TokenTree::Group(made)]);
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::{borrow, made_static, object_lifetime};

    #[test]
    fn finds_the_first_borrow() {
        let found = |ty: syn::Type| borrow(&ty).map(|tokens| tokens.to_string());
        assert_eq!(found(parse_quote!(Result<&str, E<'a>>)).as_deref(), Some("&"));
        assert_eq!(found(parse_quote!(Result<&'a str, E>)).as_deref(), Some("& 'a"));
        assert_eq!(found(parse_quote!(Vec<(u8, E<'_>)>)).as_deref(), Some("'_"));
        for owned in [
            parse_quote!(Result<String, E>),
            parse_quote!(&'static [&'static str]),
            parse_quote!(fn(&u8) -> u8),
            parse_quote!(Box<dyn for<'a> Fn(&'a u8) -> Cow<'a, str>>),
        ] {
            assert_eq!(found(owned), None);
        }
    }

    #[test]
    fn static_takes_the_place_of_every_borrow() {
        let ty = parse_quote!(Result<(&str, [&'a u8; 2]), E<'_, fn(&u8)>>);
        let made: syn::Type = parse_quote!(Result<(&'static str, [&'static u8; 2]), E<'static, fn(&u8)>>);
        assert_eq!(made_static(&ty), made);
    }

    #[test]
    fn finds_what_a_trait_object_borrows() {
        let found = |ty: syn::Type| object_lifetime(&ty).map(|tokens| tokens.to_string());
        assert_eq!(found(parse_quote!(Result<(), Box<dyn Error + Send + 'a>>)).as_deref(), Some("'a"));
        assert_eq!(found(parse_quote!((u8, Box<dyn Error + '_>))).as_deref(), Some("'_"));
        assert_eq!(found(parse_quote!(Result<E<'a>, Box<dyn Error + 'static>>)), None);
    }
}
