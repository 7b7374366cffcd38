//! What diagrams say of types, parameters and policies.

use std::collections::BTreeMap;
use std::time::Duration;

use humantime::format_duration;

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
    pub(super) fn of(item: &HandlerItem, breakers: &BTreeMap<String, BreakerPolicy>) -> Self {
        let policy = item.policy.copied().unwrap_or_default();
        let mut lines = Vec::new();
        if let Some(options) = policy.breaker {
            let path = item.path();
            let known = breakers.get(key(&path, options)).copied();
            let said = known.unwrap_or_else(|| BreakerPolicy::DEFAULT.overlaid(options));
            lines.push(breaker(options.name, said));
        }
        let retry = policy.retry.map(|retry| RetryPolicy::CALL.overlaid(retry)).filter(|retry| retry.max > 1);
        if let Some(retry) = retry {
            lines.push(self::retry(retry));
        }
        if let Some(timeout) = policy.timeout {
            let each = if retry.is_some() { " each" } else { "" };
            lines.push(format!("timeout {}{each}", format_duration(timeout)));
        }
        let (failures, told) = match (policy.timeout.is_some(), policy.breaker.is_some()) {
            (false, false) => ("an error", ""),
            (true, false) => ("an error or a timeout", " or Timeout"),
            (false, true) => ("an error or an open breaker", " or BreakerOpen"),
            (true, true) => ("an error, a timeout or an open breaker", ", Timeout or BreakerOpen"),
        };
        let told = if item.fallback.is_some() { " or FallbackFailed" } else { told };
        Self { lines, attempts: retry.map_or(1, |retry| retry.max), failures, told }
    }
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

fn retry(policy: RetryPolicy) -> String {
    let pause = |attempt| Duration::from_millis(policy.pause(attempt, 1.0).as_millis().try_into().unwrap_or(u64::MAX));
    let (first, last) = (pause(1), pause(policy.max - 1));
    let pauses = if first == last {
        format!("pause up to {}", format_duration(first))
    } else {
        format!("pauses up to {}, then {}", format_duration(first), format_duration(last))
    };
    format!("retry, {} attempts at most, {pauses}", policy.max)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{breaker, retry, short};
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
        let said = |max| retry(RetryPolicy { max, ..policy });
        assert_eq!(said(2), "retry, 2 attempts at most, pause up to 20ms");
        assert_eq!(said(4), "retry, 4 attempts at most, pauses up to 20ms, then 80ms");
        assert_eq!(said(50), "retry, 50 attempts at most, pauses up to 20ms, then 5s");
        let steady = retry(RetryPolicy { max: 9, factor: 1.0, ..policy });
        assert_eq!(steady, "retry, 9 attempts at most, pause up to 20ms");
    }

    #[test]
    fn a_breaker_says_when_it_opens_and_for_how_long() {
        let policy = BreakerPolicy::DEFAULT;
        assert_eq!(breaker(None, policy), "breaker opens after 5 failures in a row, for 1m");
        let policy = BreakerPolicy { failures: 1, window: Some(Duration::from_secs(90)), ..policy };
        assert_eq!(breaker(Some("bank"), policy), "breaker bank opens after 1 failure within 1m 30s, for 1m");
    }
}
