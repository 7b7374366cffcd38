//! What surrounds the attempts at a handler: `fallback`, `on`, `timeout`, `retry`, `breaker`.

use proc_macro2::TokenStream;
use syn::{ReturnType, Signature};

use super::args::Args;
use crate::diag::catalogue;
use crate::model::{Breaker, Policy, Retry};
use crate::parse::{Arm, Place, arguments};

/// The words of which `on` judges the errors.
const JUDGED: [&str; 3] = ["fallback", "retry", "breaker"];

/// The policy of a function; `None` where its attribute says nothing about it. `stored`: it is the store that tries it again.
pub(super) fn policy(args: &Args<'_>, stored: bool, sig: &Signature) -> Option<Policy> {
    let on: Option<Vec<Arm>> = args.value("on");
    if let Some((_, arg)) = args.written("on") {
        if !JUDGED.iter().any(|word| args.written(word).is_some()) {
            args.sink().at(&arg.key, catalogue::on_judges_nothing());
        }
        if matches!(sig.output, ReturnType::Default) {
            args.sink().at(&arg.key, catalogue::on_without_an_error(&sig.ident));
        } else if on.as_ref().is_some_and(Vec::is_empty) {
            args.sink().at(args.value_tokens("on"), catalogue::empty_on());
        }
    }
    let policy = Policy {
        fallback: args.value("fallback"),
        on: on.unwrap_or_default(),
        timeout: args.positive_duration("timeout"),
        // Else validated by whoever says that it is stored.
        retry: if stored { None } else { retry(args) },
        breaker: breaker(args),
    };
    let Policy { fallback, on, timeout, retry, breaker } = &policy;
    let says_something =
        fallback.is_some() || !on.is_empty() || timeout.is_some() || retry.is_some() || breaker.is_some();
    says_something.then_some(policy)
}

/// `retry(max = 8, first = "1s", factor = 2.0, ceiling = "5m")`.
pub(super) fn retry(args: &Args<'_>) -> Option<Retry> {
    let list = args.value::<TokenStream>("retry")?;
    let inner = Args::new(Place::Retry, arguments(list), args.sink());
    let retry = Retry {
        max: inner.integer("max", 1),
        first: inner.duration("first"),
        factor: inner.value("factor"),
        ceiling: inner.duration("ceiling"),
    };
    if retry.factor.is_some_and(|factor| factor < 1.0) {
        args.sink().at(inner.value_tokens("factor"), catalogue::factor_below_one());
    }
    if let (Some(first), Some(ceiling)) = (retry.first, retry.ceiling)
        && ceiling < first
    {
        args.sink().at(inner.value_tokens("ceiling"), catalogue::ceiling_below_first());
    }
    Some(retry)
}

/// `breaker(failures = 5, open_for = "30s", window = "60s", name = "bank")`.
fn breaker(args: &Args<'_>) -> Option<Breaker> {
    let (_, written) = args.written("breaker")?;
    // `breaker` alone is a breaker with the numbers of the settings.
    let list = match written.value {
        crate::parse::ArgValue::Absent => TokenStream::new(),
        _ => args.value("breaker")?,
    };
    let inner = Args::new(Place::Breaker, arguments(list), args.sink());
    Some(Breaker {
        failures: inner.integer("failures", 1),
        open_for: inner.positive_duration("open_for"),
        window: inner.positive_duration("window"),
        name: inner.text("name"),
    })
}
