//! What an attribute says about a breaker, and what comes of it.

use std::time::Duration;

/// What `breaker(..)` says; what it leaves out comes from the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerOptions {
    /// How many failures open it.
    pub failures: Option<u32>,
    /// How long it stays open before a trial.
    pub open_for: Option<Duration>,
    /// Counts the failures of this long, whatever succeeds in between; without it, failures in a row.
    pub window: Option<Duration>,
    /// Handlers whose breakers have one name share one breaker.
    pub name: Option<&'static str>,
}

impl BreakerOptions {
    /// Every value left to the settings: a breaker of the handler's own.
    pub const NONE: Self = Self { failures: None, open_for: None, window: None, name: None };

    /// A breaker as an attribute wrote it.
    pub const fn new(
        failures: Option<u32>,
        open_for: Option<Duration>,
        window: Option<Duration>,
        name: Option<&'static str>,
    ) -> Self {
        Self { failures, open_for, window, name }
    }
}

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BreakerPolicy {
    /// How many failures open it.
    pub(crate) failures: u32,
    /// How long it stays open before a trial, and how long a trial may take before there is another.
    pub(crate) open_for: Duration,
    /// Counts the failures of this long; without it, failures in a row.
    pub(crate) window: Option<Duration>,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl BreakerPolicy {
    /// What nobody said otherwise.
    pub(crate) const DEFAULT: Self = Self { failures: 5, open_for: Duration::from_mins(1), window: None };

    /// Each failure in a window is remembered, so there is a most.
    pub(crate) const MOST_IN_WINDOW: u32 = 1000;

    /// The same policy, with what an attribute says instead.
    pub(crate) fn overlaid(self, options: BreakerOptions) -> Self {
        Self {
            failures: options.failures.unwrap_or(self.failures),
            open_for: options.open_for.unwrap_or(self.open_for),
            window: options.window.or(self.window),
        }
    }

    /// What is wrong with it, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        if self.failures == 0 {
            Some("it opens after 0 failures: it could never be closed".to_owned())
        } else if self.open_for < Self::SHORTEST {
            Some(format!("it stays open for {:?}; the shortest is {:?}", self.open_for, Self::SHORTEST))
        } else if self.window.is_some_and(|window| window < Self::SHORTEST) {
            Some(format!("its window is shorter than {:?}", Self::SHORTEST))
        } else if self.window.is_some() && self.failures > Self::MOST_IN_WINDOW {
            Some(format!("it counts {} failures in a window; the most is {}", self.failures, Self::MOST_IN_WINDOW))
        } else {
            None
        }
    }

    /// Times are kept in milliseconds where several processes share them.
    const SHORTEST: Duration = Duration::from_millis(1);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BreakerOptions, BreakerPolicy};

    #[test]
    fn what_an_attribute_says_wins_and_what_it_leaves_out_stays() {
        let minute = Duration::from_mins(1);
        assert_eq!(BreakerPolicy::DEFAULT, BreakerPolicy { failures: 5, open_for: minute, window: None });
        assert_eq!(BreakerPolicy::DEFAULT.overlaid(BreakerOptions::NONE), BreakerPolicy::DEFAULT);
        let second = Duration::from_secs(1);
        let options = BreakerOptions::new(Some(2), None, Some(second), Some("bank"));
        let expected = BreakerPolicy { failures: 2, open_for: minute, window: Some(second) };
        assert_eq!(BreakerPolicy::DEFAULT.overlaid(options), expected);
    }

    #[test]
    fn numbers_that_make_no_breaker_are_told() {
        let default = BreakerPolicy::DEFAULT;
        let second = Some(Duration::from_secs(1));
        assert_eq!(default.fault(), None);
        assert_eq!(BreakerPolicy { failures: u32::MAX, ..default }.fault(), None);
        for (policy, said) in [
            (BreakerPolicy { failures: 0, ..default }, "0 failures"),
            (BreakerPolicy { open_for: Duration::ZERO, ..default }, "open for 0ns"),
            (BreakerPolicy { window: Some(Duration::ZERO), ..default }, "window is shorter"),
            (BreakerPolicy { window: second, failures: 1001, ..default }, "the most is 1000"),
        ] {
            let fault = policy.fault().expect("a fault");
            assert!(fault.contains(said), "{fault}");
        }
    }
}
