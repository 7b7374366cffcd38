//! Errors by text and order: several mistakes in one item are all reported, in the order of the source.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Item, Macro};

use crate::entry;
use crate::model::MessageKind;
use crate::parse::Place;

/// The first lines of all errors in an expansion.
fn errors(expansion: TokenStream) -> Vec<String> {
    let file: syn::File = syn::parse2(expansion).unwrap();
    file.items.iter().filter_map(compile_error).collect()
}

fn compile_error(item: &Item) -> Option<String> {
    let Item::Macro(item) = item else { return None };
    let Macro { path, tokens, .. } = &item.mac;
    if path.segments.last()?.ident != "compile_error" {
        return None;
    }
    let text: syn::LitStr = syn::parse2(tokens.clone()).ok()?;
    Some(text.value().lines().next()?.to_owned())
}

fn handler(args: TokenStream, item: TokenStream) -> Vec<String> {
    errors(entry::attribute(Place::EventHandler, args, item))
}

fn fine() -> TokenStream {
    quote!(
        async fn count(e: &OrderPlaced) {}
    )
}

#[test]
fn every_mistake_is_reported_in_order() {
    let found = handler(
        quote!(inlin, order = "x", order = 2, concurrency = 4),
        quote! {
            unsafe fn count<T>(e: &mut OrderPlaced, a: &mut Tx<Sqlite>, b: &'static mut Tx<Sqlite>) -> impl Sized {}
        },
    );
    assert_eq!(
        found,
        [
            "`inlin` is not an argument of `#[event_handler(..)]`",
            "`order` is given twice",
            "`order` takes a whole number",
            "`concurrency` is for handlers of consumed events",
            "event handler `count` cannot be `unsafe`",
            "event handler `count` must be `async`",
            "event handler `count` cannot be generic",
            "event handler `count` takes `&mut Tx<Sqlite>` twice",
            "event handler `count` cannot take its message as `&mut`",
            "event handler `count` cannot return `impl Trait`",
        ]
    );
}

#[test]
fn two_exclusive_parameters_of_one_type_are_refused() {
    let found = handler(
        quote!(),
        quote! {
            async fn count(e: &OrderPlaced, a: &mut Tx<Sqlite>, b: &mut Tx<Sqlite>, c: &mut Tx<Postgres>) {}
        },
    );
    assert_eq!(found, ["event handler `count` takes `&mut Tx<Sqlite>` twice"]);
}

#[test]
fn types_with_commas_are_one_value() {
    let found = errors(entry::derive(
        MessageKind::Command,
        quote! {
            #[command(response = HashMap<Key, fn(A, B) -> C>, error = Oops)]
            struct Find;
        },
    ));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_malformed_argument_hides_no_other() {
    let found = handler(quote!("x", retry(max = 0, frist = "1s", ceiling = "5 m"), durable = true), fine());
    assert_eq!(
        found,
        [
            "this is not an argument of `#[event_handler(..)]`",
            "`durable` takes no value",
            "`frist` is not an argument of `retry(..)`",
            "`max` is out of range",
            "`5 m` is not a duration",
        ]
    );
}

#[test]
fn a_function_with_an_error_is_emitted_and_not_registered() {
    let item = quote!(fn count(e: &OrderPlaced) { let half = ; });
    let output = entry::attribute(Place::EventHandler, quote!(), item.clone()).to_string();
    assert!(output.contains(&item.to_string()));
    assert!(!output.contains("submit"));
}

#[test]
fn an_item_that_does_not_parse_comes_back_with_one_error() {
    let found = entry::attribute(Place::EventHandler, quote!(), quote!(async fn count(e: ) {})).to_string();
    assert!(found.contains("async fn count"));
    assert_eq!(found.matches("compile_error").count(), 1);
}

#[test]
fn every_mistake_of_a_list_of_steps_is_reported_in_order() {
    let found = errors(entry::saga(
        quote!(name = "", steps = [reserve(), (), (notify), (print, (ship)), close]),
        quote!(
            struct Checkout<T>(T);
        ),
    ));
    assert_eq!(
        found,
        [
            "`name` cannot be empty",
            "this is not a step",
            "a group without steps does nothing",
            "a group of one step is a step",
            "a group of steps holds no other group",
            "`Checkout` is the context of a saga, which cannot be generic",
        ]
    );
}

#[test]
fn every_mistake_of_a_step_is_reported_in_order() {
    let found = errors(entry::attribute(
        Place::SagaStep,
        quote!(compensate = 1, name = "a/b", timeout = "0s", group = "till"),
        quote!(
            fn confirm(cx: Checkout) -> &str {}
        ),
    ));
    assert_eq!(
        found,
        [
            "the name of a step cannot contain a slash",
            "`timeout` is no time at all",
            "saga step `confirm` must be `async`",
            "saga step `confirm` takes its context by reference",
            "`group` is for steps that wait for an event",
            "saga step `confirm` cannot return what borrows",
        ]
    );
}
