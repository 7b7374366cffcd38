//! The one road every macro takes: parse, validate, expand; then which tokens go out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proc_macro2::{Span, TokenStream};
use quote::quote;

use crate::diag::{Sink, catalogue};
use crate::expand::Reader;
use crate::model::MessageKind;
use crate::parse::{
    FnItem, NotAFunction, NotAType, Place, arguments, context_item, fn_item, message_item, without_second_attribute,
};
use crate::{expand, validate};

/// A derive. Its impls are emitted beside its errors, so that uses of the type bring no errors of their own.
pub(crate) fn derive(kind: MessageKind, item: TokenStream) -> TokenStream {
    run(kind.derive(), TokenStream::new(), |sink| match message_item(item) {
        Ok(item) => Some(expand::message(&validate::message(kind, &item, sink), reader())),
        Err(error) => {
            sink.syntax(error);
            None
        }
    })
}

/// The derive of an error. Its impl is emitted beside its errors.
pub(crate) fn problem(item: TokenStream) -> TokenStream {
    run("Problem", TokenStream::new(), |sink| match message_item(item) {
        Ok(item) => Some(expand::problem(&validate::problem(&item, sink))),
        Err(error) => {
            sink.syntax(error);
            None
        }
    })
}

/// `#[saga]` on the type that is its context. The type goes out first and unchanged; its impls stand beside its errors.
pub(crate) fn saga(args: TokenStream, item: TokenStream) -> TokenStream {
    let place = Place::Saga;
    let (item, seconds) = without_second_attribute(place, item);
    run(place.word(), item.clone(), |sink| {
        for second in &seconds {
            sink.at(second, catalogue::second_attribute(place, &second.to_string()));
        }
        match context_item(item) {
            Ok(item) => {
                let saga = validate::saga(arguments(args), &item, sink);
                // What borrows cannot be read from a store, which would be the compiler's error, too.
                let borrows = item.generics.lifetimes().next().is_some();
                let broken = if borrows { sink.take_first() } else { None };
                return Some(expand::saga(&saga, reader(), broken.as_ref()));
            }
            Err(NotAType::Other(word)) => sink.at(&word, catalogue::not_a_context(&word.to_string())),
            Err(NotAType::Unparsable(error)) => sink.syntax(error),
        }
        None
    })
}

/// An attribute on a function. The function goes out first and unchanged, but for lints that would blame the user for
/// the form we ask for: `async` without an `await`, `Inject<T>` by value. Then errors or the registration.
pub(crate) fn attribute(place: Place, args: TokenStream, item: TokenStream) -> TokenStream {
    let (item, seconds) = without_second_attribute(place, item);
    let lenient = quote!(#[allow(clippy::needless_pass_by_value, clippy::unused_async)] #item);
    run(place.word(), lenient, |sink| {
        for second in &seconds {
            sink.at(second, catalogue::second_attribute(place, &second.to_string()));
        }
        match fn_item(item) {
            Ok(function) => {
                let registration = registration(place, args.clone(), &function, sink);
                return registration.or_else(|| stand_in(place, args, &function, sink));
            }
            Err(NotAFunction::Other(keyword)) => {
                sink.at(&keyword, catalogue::not_a_function(place, &keyword.to_string()));
            }
            Err(NotAFunction::Unparsable(error)) => sink.syntax(error),
        }
        None
    })
}

/// What others name by a path is there in spite of its errors.
fn stand_in(place: Place, args: TokenStream, function: &FnItem, sink: &Sink) -> Option<TokenStream> {
    let function = validate::named_part(place, arguments(args), function)?;
    Some(expand::broken_part(place, &function, &sink.take_first()?))
}

fn registration(place: Place, args: TokenStream, function: &FnItem, sink: &Sink) -> Option<TokenStream> {
    let args = arguments(args);
    match place {
        Place::Fallback => validate::fallback(args, function, sink).map(|fallback| expand::fallback(&fallback)),
        Place::SagaStep => validate::saga_step(args, function, sink).map(|step| expand::saga_step(&step)),
        Place::Compensation => validate::compensation(args, function, sink).map(|back| expand::compensation(&back)),
        Place::Provider => validate::provider(args, function, sink).map(|provider| expand::provider(&provider)),
        Place::Middleware => {
            validate::middleware(args, function, sink).map(|middleware| expand::middleware(&middleware))
        }
        _ => validate::handler(place, args, function, sink).map(|handler| expand::handler(&handler)),
    }
}

fn run(name: &str, item: TokenStream, stages: impl FnOnce(&Sink) -> Option<TokenStream>) -> TokenStream {
    let sink = Sink::default();
    // A half-filled sink is still a list of errors: nothing in it depends on the stages running to their end.
    let generated = catch_unwind(AssertUnwindSafe(|| stages(&sink))).unwrap_or_else(|_| {
        sink.syntax(please_report(name));
        None
    });
    let errors = sink.into_tokens();
    let output: TokenStream = [item, errors, generated.unwrap_or_default()].into_iter().collect();
    if std::env::var_os("CQRS_MACROS_DEBUG").is_some() {
        eprintln!("{name}: {output}");
    }
    output
}

fn reader() -> Reader {
    let program = std::env::current_exe().unwrap_or_default();
    if program.file_stem().is_some_and(|name| name == "rustdoc") { Reader::Rustdoc } else { Reader::Compiler }
}

fn please_report(name: &str) -> syn::Error {
    let text = format!(
        "`{name}` failed in a way it should not\n\nhelp: please report this together with the item below the attribute"
    );
    syn::Error::new(Span::call_site(), text)
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::run;

    #[test]
    fn a_panic_is_one_error_beside_the_users_item() {
        let output = run(
            "command_handler",
            quote!(
                fn place() {}
            ),
            |_| panic!("a mistake of ours"),
        )
        .to_string();
        assert!(output.starts_with("fn place () { }"));
        assert_eq!(output.matches("compile_error").count(), 1);
        assert!(output.contains("please report this"));
    }
}
