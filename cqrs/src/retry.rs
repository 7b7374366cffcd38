//! How often to try again, and how long to pause before it: a pure function of the attempt and a random number.
//!
//! `backon` was looked at first. Its policy is an iterator that lives beside a closure and is polled in one process; ours
//! has to be asked "attempt 7 failed, when is attempt 8 due?" about a row that another process may have tried six times,
//! and has to give the same answer to the same random number in a test. Its jitter also only ever lengthens a pause,
//! past the ceiling too. What would be left of it is one multiplication, so this file is our own.

use std::time::Duration;

use crate::registry::RetryOptions;

/// How often a failed piece of work is tried again, and how long it waits in between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RetryPolicy {
    /// How many calls in all, the first included.
    pub(crate) max: u32,
    /// The first pause.
    pub(crate) first: Duration,
    /// By how much each pause grows.
    pub(crate) factor: f64,
    /// The longest pause.
    pub(crate) ceiling: Duration,
    /// Whether the second call follows the first at once, where at least one more is left that does not: of consumed messages.
    pub(crate) at_once: bool,
}

/// What follows a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another call, after a pause.
    Again(Duration),
    /// No other call.
    GiveUp,
}

impl RetryPolicy {
    /// The policy of stored work: durable handlers, consumed messages, sent commands.
    pub(crate) const STORED: Self =
        Self { max: 5, first: Duration::from_secs(1), factor: 2.0, ceiling: Duration::from_mins(5), at_once: false };

    /// The policy of attempts within a call, which somebody waits for.
    pub(crate) const CALL: Self = Self {
        max: 3,
        first: Duration::from_millis(100),
        factor: 2.0,
        ceiling: Duration::from_secs(5),
        at_once: false,
    };

    /// The pauses while a store or a broker cannot be reached. How often it is tried is not limited: what waits is sound.
    pub(crate) const OUTAGE: Self = Self {
        max: u32::MAX,
        first: Duration::from_millis(100),
        factor: 2.0,
        ceiling: Duration::from_secs(5),
        at_once: false,
    };

    /// The same policy, with what an attribute or a setting says instead.
    pub(crate) fn overlaid(self, options: RetryOptions) -> Self {
        Self {
            max: options.max.unwrap_or(self.max),
            first: options.first.unwrap_or(self.first),
            factor: options.factor.unwrap_or(self.factor),
            ceiling: options.ceiling.unwrap_or(self.ceiling),
            ..self
        }
    }

    /// Whether another call follows at once after the `attempt`-th failed (the first is 1).
    pub(crate) fn is_followed_at_once(&self, attempt: u32) -> bool {
        attempt == 1 && self.hurries()
    }

    /// Who allows two calls and says how long to pause wants the second one after that.
    fn hurries(&self) -> bool {
        self.at_once && self.max > 2
    }

    /// The pause after the `attempt`-th call failed (the first is 1), where the next does not follow at once: exponential, at
    /// most the ceiling, of which the upper half is left to chance, so that what failed together does not come back together.
    /// `random` is in `0..1`.
    pub(crate) fn pause(&self, attempt: u32, random: f64) -> Duration {
        let before_it_grows = if self.hurries() { 2 } else { 1 };
        let doublings = i32::try_from(attempt.saturating_sub(before_it_grows)).unwrap_or(i32::MAX);
        let ceiling = self.ceiling.as_secs_f64();
        let grown = self.first.as_secs_f64() * self.factor.max(1.0).powi(doublings);
        // A large attempt overflows to infinity, which the ceiling catches; zero times infinity is no number.
        let whole = if grown.is_nan() { 0.0 } else { grown.min(ceiling) };
        Duration::from_secs_f64(whole * (0.5 + 0.5 * random.clamp(0.0, 1.0)))
    }

    /// What follows after the `attempt`-th call failed (the first is 1).
    pub(crate) fn verdict(&self, attempt: u32, random: f64) -> Verdict {
        if attempt >= self.max { Verdict::GiveUp } else { Verdict::Again(self.pause(attempt, random)) }
    }
}

/// A random number in `0..1`, for jitter only: it comes from the generator that makes our ids.
pub(crate) fn random() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{RetryPolicy, Verdict, random};
    use crate::registry::RetryOptions;

    const POLICY: RetryPolicy = RetryPolicy {
        max: 4,
        first: Duration::from_secs(1),
        factor: 3.0,
        ceiling: Duration::from_secs(10),
        at_once: false,
    };

    #[test]
    fn pauses_grow_by_the_factor_up_to_the_ceiling() {
        let pauses: Vec<_> = (1..=5).map(|attempt| POLICY.pause(attempt, 1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 3, 9, 10, 10]);
    }

    #[test]
    fn chance_takes_away_at_most_half() {
        assert_eq!(POLICY.pause(2, 0.0), Duration::from_millis(1500));
        assert_eq!(POLICY.pause(2, 0.5), Duration::from_millis(2250));
        assert_eq!(POLICY.pause(2, 7.0), Duration::from_secs(3), "a number out of range is cut off");
    }

    #[test]
    fn the_first_call_counts() {
        let verdicts: Vec<_> = (1..=4).map(|attempt| POLICY.verdict(attempt, 1.0)).collect();
        let again = |seconds| Verdict::Again(Duration::from_secs(seconds));
        assert_eq!(verdicts, [again(1), again(3), again(9), Verdict::GiveUp]);
        assert_eq!(RetryPolicy { max: 1, ..POLICY }.verdict(1, 0.0), Verdict::GiveUp);
    }

    #[test]
    fn a_second_call_at_once_comes_before_the_first_pause_and_takes_no_call_from_who_has_two() {
        let hurried = RetryPolicy { max: 9, at_once: true, ..POLICY };
        let pauses: Vec<_> = (1..=5).map(|attempt| hurried.pause(attempt, 1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 1, 3, 9, 10], "the first of them where the second call cannot follow at once");
        assert_eq!([1, 2, 3].map(|attempt| hurried.is_followed_at_once(attempt)), [true, false, false]);
        assert!(RetryPolicy { max: 3, ..hurried }.is_followed_at_once(1));
        for policy in [RetryPolicy { max: 2, ..hurried }, RetryPolicy { max: 1, ..hurried }, POLICY] {
            assert!(!policy.is_followed_at_once(1), "{policy:?}");
            assert_eq!(policy.pause(2, 1.0).as_secs(), 3, "{policy:?}");
        }
    }

    #[test]
    fn huge_attempts_and_odd_policies_neither_panic_nor_pass_the_ceiling() {
        let odd = [
            RetryPolicy { first: Duration::ZERO, ..POLICY },
            RetryPolicy { factor: 0.1, ..POLICY },
            RetryPolicy { factor: f64::INFINITY, ..POLICY },
            RetryPolicy { factor: f64::NAN, ..POLICY },
            RetryPolicy { ceiling: Duration::ZERO, ..POLICY },
        ];
        for policy in odd {
            for attempt in [0, 1, 2, 100, u32::MAX] {
                assert!(policy.pause(attempt, 1.0) <= policy.ceiling, "{policy:?} at {attempt}");
            }
        }
    }

    #[test]
    fn what_an_attribute_says_wins() {
        let options = RetryOptions::new(Some(9), None, None, Some(Duration::from_secs(2)));
        let policy = POLICY.overlaid(options);
        assert_eq!(policy, RetryPolicy { max: 9, ceiling: Duration::from_secs(2), ..POLICY });
        assert_eq!(POLICY.overlaid(RetryOptions::NONE), POLICY);
    }

    #[test]
    fn random_numbers_differ_and_stay_in_range() {
        let numbers: Vec<_> = (0..100).map(|_| random()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.windows(2).any(|pair| pair[0].to_bits() != pair[1].to_bits()));
    }
}
