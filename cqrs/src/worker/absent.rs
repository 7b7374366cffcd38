//! Work that this program has no handler for, while another version of it may. Pure.

use std::time::{Duration, SystemTime};

use crate::retry::{RetryPolicy, Verdict};

/// How long such work waits for a program that can do it: longer than any deployment.
const PATIENCE: Duration = Duration::from_hours(24);

/// The shortest pause: two versions of a program that run side by side hand it back and forth no faster.
const SHORTEST: Duration = Duration::from_secs(1);

/// What follows when work cannot be done here. It waits as long again as it has waited already, up to the policy's
/// ceiling: during a deployment it soon meets the program that can do it, and forgotten it costs next to nothing.
pub(super) fn verdict(since: Option<SystemTime>, now: SystemTime, policy: &RetryPolicy, random: f64) -> Verdict {
    let absent = since.and_then(|since| now.duration_since(since).ok()).unwrap_or_default();
    if absent >= PATIENCE {
        return Verdict::GiveUp;
    }
    let whole = absent.max(policy.first).min(policy.ceiling).max(SHORTEST);
    Verdict::Again(whole.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::{Duration, RetryPolicy, SystemTime, Verdict, verdict};

    fn after(seconds: u64) -> Verdict {
        let since = SystemTime::UNIX_EPOCH;
        verdict(Some(since), since + Duration::from_secs(seconds), &RetryPolicy::STORED, 1.0)
    }

    #[test]
    fn it_waits_as_long_again_up_to_the_ceiling_and_for_a_day() {
        let again = |seconds| Verdict::Again(Duration::from_secs(seconds));
        assert_eq!(verdict(None, SystemTime::UNIX_EPOCH, &RetryPolicy::STORED, 1.0), again(1));
        assert_eq!([after(0), after(7), after(299), after(9_000)], [again(1), again(7), again(299), again(300)]);
        assert_eq!([after(86_399), after(86_400)], [again(300), Verdict::GiveUp]);
    }

    #[test]
    fn odd_policies_and_clocks_neither_panic_nor_spin() {
        let policy = RetryPolicy { first: Duration::from_secs(9), ceiling: Duration::ZERO, ..RetryPolicy::STORED };
        let later = SystemTime::UNIX_EPOCH + Duration::from_mins(1);
        assert_eq!(
            verdict(Some(later), SystemTime::UNIX_EPOCH, &policy, 0.0),
            Verdict::Again(Duration::from_millis(500))
        );
    }
}
