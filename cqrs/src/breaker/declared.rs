//! What the handlers of an app say about their breakers, put together: those that name one share it.

use std::collections::BTreeMap;
use std::fmt;

use super::policy::{BreakerOptions, BreakerPolicy};
use crate::message::SourceLocation;
use crate::wiring::{Problem, ProblemKind};

/// What one handler says about its breaker.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    /// The handler's path: what its own breaker is called.
    pub(crate) path: String,
    /// The handler in words, for what is wrong.
    pub(crate) what: String,
    pub(crate) location: SourceLocation,
    pub(crate) options: BreakerOptions,
}

impl Declared {
    /// What the breaker is called.
    pub(super) fn key(&self) -> &str {
        key(&self.path, self.options)
    }
}

/// What a handler's breaker is called.
pub(crate) fn key(path: &str, options: BreakerOptions) -> &str {
    options.name.unwrap_or(path)
}

/// The breakers by what they are called, each with those who say something about it.
pub(super) fn by_key(declared: &[Declared]) -> BTreeMap<&str, Vec<&Declared>> {
    let mut breakers: BTreeMap<&str, Vec<&Declared>> = BTreeMap::new();
    for one in declared {
        breakers.entry(one.key()).or_default().push(one);
    }
    breakers
}

/// The policy of one breaker: what one handler leaves out, another may say.
pub(super) fn policy(declared: &[&Declared], defaults: BreakerPolicy) -> BreakerPolicy {
    declared.iter().fold(defaults, |policy, one| policy.overlaid(one.options))
}

/// What each breaker is called, and its policy.
pub(crate) fn policies(declared: &[Declared], defaults: BreakerPolicy) -> BTreeMap<String, BreakerPolicy> {
    by_key(declared).into_iter().map(|(name, handlers)| (name.to_owned(), policy(&handlers, defaults))).collect()
}

/// What is wrong with the breakers of an app: numbers that make none, and handlers that name one breaker and say
/// different numbers.
pub(crate) fn problems(declared: &[Declared], defaults: BreakerPolicy) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, handlers) in by_key(declared) {
        let conflict = conflict(name, &handlers);
        // Of numbers that are at odds, nobody knows which will be kept.
        let fault = if conflict.is_some() { None } else { policy(&handlers, defaults).fault() };
        let fault = fault.or_else(|| name.is_empty().then(|| "its name is empty".to_owned()));
        let fault = fault.map(|fault| {
            let what = format!("the circuit breaker `{name}` makes no sense: {fault}");
            Problem::new(ProblemKind::Breaker, what, "correct `breaker(..)`, or the settings it takes its numbers from")
        });
        problems.extend(
            conflict.into_iter().chain(fault).map(|problem| {
                handlers.iter().fold(problem, |problem, one| problem.at(one.what.clone(), one.location))
            }),
        );
    }
    problems
}

fn conflict(name: &str, handlers: &[&Declared]) -> Option<Problem> {
    let said = [
        differing("failures", handlers, |options| options.failures.map(|count| count.to_string())),
        differing("open_for", handlers, |options| options.open_for.map(|time| format!("{time:?}"))),
        differing("window", handlers, |options| options.window.map(|time| format!("{time:?}"))),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    if said.is_empty() {
        return None;
    }
    let what = format!("handlers that share the circuit breaker `{name}` say different numbers: {}", said.join("; "));
    let mend =
        "say them once, the others only name the breaker: `breaker(name = \"..\")`; or give them different names";
    Some(Problem::new(ProblemKind::Breaker, what, mend))
}

/// The values that are said for one key, if there are several.
fn differing(word: &str, handlers: &[&Declared], value: impl Fn(&BreakerOptions) -> Option<String>) -> Option<String> {
    let mut values: Vec<String> = Vec::new();
    for said in handlers.iter().filter_map(|one| value(&one.options)) {
        if !values.contains(&said) {
            values.push(said);
        }
    }
    (values.len() > 1).then(|| format!("`{word}` is {}", Listed(&values)))
}

struct Listed<'a>(&'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Declared, by_key, policy, problems};
    use crate::breaker::{BreakerOptions, BreakerPolicy};
    use crate::message::SourceLocation;

    fn handler(name: &str, options: BreakerOptions) -> Declared {
        let location = SourceLocation { module: "shop", file: "shop.rs", line: 7 };
        Declared { path: format!("shop::{name}"), what: format!("command handler `{name}`"), location, options }
    }

    fn named(name: &'static str, failures: Option<u32>, open_for: Option<u64>) -> BreakerOptions {
        BreakerOptions::new(failures, open_for.map(Duration::from_secs), None, Some(name))
    }

    #[test]
    fn handlers_share_a_breaker_by_name_only() {
        let declared = [
            handler("a", BreakerOptions::NONE),
            handler("b", BreakerOptions::NONE),
            handler("c", named("bank", Some(2), None)),
            handler("d", named("bank", None, Some(9))),
        ];
        let breakers = by_key(&declared);
        assert_eq!(breakers.keys().copied().collect::<Vec<_>>(), ["bank", "shop::a", "shop::b"]);
        assert_eq!(breakers["bank"].len(), 2);
        let expected = BreakerPolicy { failures: 2, open_for: Duration::from_secs(9), window: None };
        assert_eq!(policy(&breakers["bank"], BreakerPolicy::DEFAULT), expected, "what one leaves out, another may say");
        assert!(problems(&declared, BreakerPolicy::DEFAULT).is_empty());
    }

    #[test]
    fn different_numbers_for_one_name_are_told_with_every_place() {
        let declared = [
            handler("a", named("bank", Some(2), Some(1))),
            handler("b", named("bank", Some(3), None)),
            handler("c", named("bank", Some(2), None)),
            handler("d", named("post", Some(9), None)),
        ];
        let problems = problems(&declared, BreakerPolicy::DEFAULT);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].what.contains("`bank`") && problems[0].what.contains("`failures` is 2 and 3"));
        assert!(!problems[0].what.contains("open_for"), "{}", problems[0].what);
        assert_eq!(problems[0].places.len(), 3);
    }

    #[test]
    fn the_same_number_said_twice_is_no_conflict() {
        let declared = [handler("a", named("bank", Some(2), None)), handler("b", named("bank", Some(2), None))];
        assert!(problems(&declared, BreakerPolicy::DEFAULT).is_empty());
    }

    #[test]
    fn a_breaker_that_makes_no_sense_is_told() {
        let declared =
            [handler("a", BreakerOptions::new(Some(0), None, None, None)), handler("b", named("", None, None))];
        let problems = problems(&declared, BreakerPolicy::DEFAULT);
        let said: Vec<_> = problems.iter().map(|problem| problem.what.as_str()).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("name is empty") && said[1].contains("`shop::a`"), "{said:?}");
    }
}
