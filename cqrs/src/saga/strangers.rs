//! Sagas that this program cannot go on with: there may be thousands that lack the same, and whoever reads the log is told once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When somebody is told again.
const AGAIN: Duration = Duration::from_hours(1);

/// How much is kept in mind. What is wrong with one context alone is told with words of its own.
const MOST: usize = 1_000;

/// When somebody was told last what stands in the way of sagas of a version.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<HashMap<(String, u32, String), Instant>>);

impl Strangers {
    /// Whether somebody is to be told of it now.
    pub(super) fn is_news(&self, name: &str, version: u32, error: &str, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), version, error.to_owned());
        if told.get(&key).is_some_and(|told| now.saturating_duration_since(*told) < AGAIN) {
            return false;
        }
        if told.len() >= MOST {
            told.clear();
        }
        told.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_of_a_version_is_told_once_an_hour() {
        let (strangers, begun) = (Strangers::default(), Instant::now());
        let told = [
            ("a", 1, "x", 0),
            ("a", 1, "x", 1),
            ("a", 2, "x", 1),
            ("b", 1, "x", 1),
            ("a", 1, "y", 1),
            ("a", 1, "x", 3_599),
            ("a", 1, "x", 3_600),
            ("a", 1, "x", 3_601),
        ]
        .map(|(name, version, error, seconds)| {
            strangers.is_news(name, version, error, begun + Duration::from_secs(seconds))
        });
        assert_eq!(told, [true, false, true, true, true, false, true, false]);
    }

    #[test]
    fn what_is_wrong_with_each_alone_takes_no_more_memory_than_a_thousand() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        for n in 0..2 * MOST {
            assert!(strangers.is_news("a", 1, &format!("byte {n}"), now));
            assert!(strangers.0.lock().unwrap().len() <= MOST);
        }
    }
}
