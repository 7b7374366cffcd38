//! Versions of sagas that this program does not have: there may be thousands of each, and whoever reads the log is told once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When somebody is told again.
const AGAIN: Duration = Duration::from_hours(1);

/// When somebody was told of each last.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<HashMap<(String, u32), Instant>>);

impl Strangers {
    /// Whether somebody is to be told of a version now.
    pub(super) fn is_news(&self, name: &str, version: u32, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), version);
        let is_news = told.get(&key).is_none_or(|told| now.saturating_duration_since(*told) >= AGAIN);
        if is_news {
            told.insert(key, now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_told_of_once_an_hour() {
        let (strangers, begun) = (Strangers::default(), Instant::now());
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let asked =
            [("a", 1, 0), ("a", 1, 1), ("a", 2, 1), ("b", 1, 1), ("a", 1, 3_599), ("a", 1, 3_600), ("a", 1, 3_601)];
        let told = asked.map(|(name, version, seconds)| strangers.is_news(name, version, at(seconds)));
        assert_eq!(told, [true, false, true, true, false, true, false]);
    }
}
