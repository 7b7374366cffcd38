//! What diagrams say of types, parameters and policies.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use humantime::format_duration;

use crate::BoxError;
use crate::breaker::{BreakerPolicy, key};
use crate::registry::{HandlerItem, Need};
use crate::retry::RetryPolicy;

/// A type without the paths to it: `Option<shop::View>` is `Option<View>`.
pub(super) fn short(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while !rest.is_empty() {
        let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '#');
        let word = rest.split(|c| !is_path(c)).next().unwrap_or_default();
        out.push_str(word.rsplit("::").next().unwrap_or_default());
        rest = &rest[word.len()..];
        let between = rest.split(is_path).next().unwrap_or_default();
        out.push_str(between);
        rest = &rest[between.len()..];
    }
    out
}

/// The type of an error: the one that stands for any has a name, and what never fails has none.
pub(super) fn error(path: &str) -> Option<String> {
    if path == std::any::type_name::<BoxError>() {
        Some("BoxError".to_owned())
    } else if path == std::any::type_name::<Infallible>() {
        None
    } else {
        Some(short(path))
    }
}

/// A duration that somebody has measured: to the millisecond, and from a minute on to the second.
pub(super) fn length(measured: Duration) -> String {
    let whole = Duration::from_secs(measured.as_secs());
    let millis = Duration::from_millis(measured.subsec_millis().into());
    format_duration(if whole < Duration::from_mins(1) { whole + millis } else { whole }).to_string()
}

/// What a handler takes besides its message and dependencies, in the order of its parameters.
pub(super) fn parameters(item: &HandlerItem) -> Vec<String> {
    let parameters = item.needs.iter().filter_map(|need| match need {
        Need::Inject { .. } | Need::Sagas | Need::Unknown => None,
        Need::Events => Some("Events".to_owned()),
        Need::Tx { name, .. } => Some(format!("Tx<{}>", short(name()))),
        Need::Begin { name, .. } => Some(format!("Begin<{}>", short(name()))),
        Need::Meta => Some("Meta".to_owned()),
        Need::App => Some("App".to_owned()),
        Need::Items => Some("Items".to_owned()),
        Need::Cause => Some("Cause".to_owned()),
        Need::StepKey => Some("StepKey".to_owned()),
    });
    parameters.collect()
}

/// What surrounds the attempts at a handler.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// One line for each part, the outermost first.
    pub(super) lines: Vec<String>,
    /// How many attempts there are at most.
    pub(super) attempts: u32,
    /// What the fallback is asked after, or else the chain ends with.
    pub(super) failures: &'static str,
    /// What the caller is told besides the message's own error, with the word before it.
    pub(super) told: &'static str,
}

impl Surroundings {
    /// Of a handler, whose attempts are part of one call.
    pub(super) fn of(item: &HandlerItem, breakers: &BTreeMap<String, BreakerPolicy>) -> Self {
        let retry = item.policy.and_then(|policy| policy.retry).map(|retry| RetryPolicy::CALL.overlaid(retry));
        let (breaker, timeout) = (breaker_of(item, breakers), timeout_of(item, retry));
        Self::new(item, retry, [breaker, retry.and_then(self::retry), timeout])
    }

    /// Of a saga's step, whose attempts are stored, each with all the rest within.
    pub(super) fn stored(item: &HandlerItem, breakers: &BTreeMap<String, BreakerPolicy>, retry: RetryPolicy) -> Self {
        let (breaker, timeout) = (breaker_of(item, breakers), timeout_of(item, Some(retry)));
        Self::new(item, Some(retry), [self::retry(retry), breaker, timeout])
    }

    fn new(item: &HandlerItem, retry: Option<RetryPolicy>, lines: [Option<String>; 3]) -> Self {
        let policy = item.policy.copied().unwrap_or_default();
        let (failures, told) = match (policy.timeout.is_some(), policy.breaker.is_some()) {
            (false, false) => ("an error", ""),
            (true, false) => ("an error or a timeout", " or Timeout"),
            (false, true) => ("an error or an open breaker", " or BreakerOpen"),
            (true, true) => ("an error, a timeout or an open breaker", ", Timeout or BreakerOpen"),
        };
        let told = if item.fallback.is_some() { " or FallbackFailed" } else { told };
        let attempts = retry.map_or(1, |retry| retry.max.max(1));
        Self { lines: lines.into_iter().flatten().collect(), attempts, failures, told }
    }
}

fn breaker_of(item: &HandlerItem, breakers: &BTreeMap<String, BreakerPolicy>) -> Option<String> {
    let options = item.policy?.breaker?;
    let path = item.path();
    let known = breakers.get(key(&path, options)).copied();
    Some(breaker(options.name, known.unwrap_or_else(|| BreakerPolicy::DEFAULT.overlaid(options))))
}

fn timeout_of(item: &HandlerItem, retry: Option<RetryPolicy>) -> Option<String> {
    let each = if retry.is_some_and(|retry| retry.max > 1) { " each" } else { "" };
    Some(format!("timeout {}{each}", format_duration(item.policy?.timeout?)))
}

fn breaker(name: Option<&str>, policy: BreakerPolicy) -> String {
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    let failures = if policy.failures == 1 { "failure" } else { "failures" };
    let counted = match policy.window {
        Some(window) => format!("within {}", format_duration(window)),
        None => "in a row".to_owned(),
    };
    format!(
        "breaker{name} opens after {} {failures} {counted}, for {}",
        policy.failures,
        format_duration(policy.open_for)
    )
}

/// What is said of more attempts than one.
pub(super) fn retry(policy: RetryPolicy) -> Option<String> {
    if policy.max < 2 {
        return None;
    }
    let pause = |attempt| Duration::from_millis(policy.pause(attempt, 1.0).as_millis().try_into().unwrap_or(u64::MAX));
    let (first, last) = (pause(1), pause(policy.max - 1));
    let pauses = if first == last {
        format!("pause up to {}", format_duration(first))
    } else {
        format!("pauses up to {}, then {}", format_duration(first), format_duration(last))
    };
    Some(format!("retry, {} attempts at most, {pauses}", policy.max))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{breaker, error, length, retry, short};
    use crate::breaker::BreakerPolicy;
    use crate::retry::RetryPolicy;

    #[test]
    fn types_lose_their_paths_and_nothing_else() {
        for (path, expected) in [
            ("shop::orders::Pay", "Pay"),
            ("Pay", "Pay"),
            ("()", "()"),
            ("", ""),
            ("core::option::Option<shop::View>", "Option<View>"),
            ("alloc::boxed::Box<dyn core::error::Error + core::marker::Send>", "Box<dyn Error + Send>"),
            ("(u8, [&str; 3], shop::A)", "(u8, [&str; 3], A)"),
            ("shop::f::{{closure}}", "{{closure}}"),
            ("shop::r#mod::Größe", "Größe"),
            ("dyn for<'a> core::ops::Fn(&'a shop::A) -> shop::B", "dyn for<'a> Fn(&'a A) -> B"),
        ] {
            assert_eq!(short(path), expected, "{path}");
        }
    }

    #[test]
    fn a_retry_says_its_first_and_its_last_pause() {
        let policy = RetryPolicy { first: Duration::from_millis(20), ..RetryPolicy::CALL };
        let said = |max| retry(RetryPolicy { max, ..policy }).unwrap();
        assert_eq!(said(2), "retry, 2 attempts at most, pause up to 20ms");
        assert_eq!(said(4), "retry, 4 attempts at most, pauses up to 20ms, then 80ms");
        assert_eq!(said(50), "retry, 50 attempts at most, pauses up to 20ms, then 5s");
        assert_eq!(retry(RetryPolicy { max: 1, ..policy }), None);
        let steady = retry(RetryPolicy { max: 9, factor: 1.0, ..policy }).unwrap();
        assert_eq!(steady, "retry, 9 attempts at most, pause up to 20ms");
    }

    #[test]
    fn a_breaker_says_when_it_opens_and_for_how_long() {
        let policy = BreakerPolicy::DEFAULT;
        assert_eq!(breaker(None, policy), "breaker opens after 5 failures in a row, for 1m");
        let policy = BreakerPolicy { failures: 1, window: Some(Duration::from_secs(90)), ..policy };
        assert_eq!(breaker(Some("bank"), policy), "breaker bank opens after 1 failure within 1m 30s, for 1m");
    }

    #[test]
    fn what_was_measured_is_said_as_closely_as_it_matters() {
        for (millis, expected) in [
            (0, "0s"),
            (7, "7ms"),
            (1_250, "1s 250ms"),
            (59_999, "59s 999ms"),
            (60_999, "1m"),
            (90_061_500, "1day 1h 1m 1s"),
        ] {
            assert_eq!(length(Duration::from_millis(millis)), expected);
        }
        assert_eq!(length(Duration::from_nanos(999)), "0s");
    }

    #[test]
    fn an_error_of_any_type_and_none_at_all_have_names_of_their_own() {
        assert_eq!(error(std::any::type_name::<crate::BoxError>()).as_deref(), Some("BoxError"));
        assert_eq!(error(std::any::type_name::<std::convert::Infallible>()), None);
        assert_eq!(error("shop::stock::StockError").as_deref(), Some("StockError"));
    }
}
