//! When a batch begins beside others, and how large it is at least. Pure: time is an argument.
//!
//! What a transaction costs whatever is in it, its round trips, is known from the batches so far, and so is what one message takes
//! in it. Where handlers are quick it would be a waste to give each message that comes a transaction of its own as long as there
//! are turns: the next ones wait for as long as a transaction takes, and then go together. Slow handlers lose no more than that.

use std::time::Duration;

use tokio::time::Instant;

/// What is waited for beside a batch, before anything is known.
const UNKNOWN: Duration = Duration::from_millis(1);
/// And at most, however slow the database is.
const LONGEST: Duration = Duration::from_millis(20);
/// The weight of what was, beside the last batch.
const MEMORY: u32 = 7;

/// What a batch took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Took {
    /// How many messages were handled.
    pub(super) messages: u32,
    /// In their handlers.
    pub(super) inside: Duration,
    /// In all.
    pub(super) whole: Duration,
}

/// What is known of the batches so far.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What a transaction takes beside the handlers.
    around: Option<Duration>,
    /// What a message takes.
    each: Option<Duration>,
    /// When the last batch began.
    begun: Option<Instant>,
}

impl Pace {
    /// A batch begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
    }

    /// From when on a batch may begin beside another one.
    pub(super) fn beside(&self) -> Option<Instant> {
        Some(self.begun? + self.around.unwrap_or(UNKNOWN).min(LONGEST))
    }

    /// How many messages take as long as the transaction that they share: so many go together, whoever has time for them.
    pub(super) fn at_least(&self) -> usize {
        let (Some(around), Some(each)) = (self.around, self.each) else { return 1 };
        usize::try_from(around.as_nanos() / each.as_nanos().max(1)).unwrap_or(usize::MAX).max(1)
    }

    /// Takes in what a batch took.
    pub(super) fn learn(&mut self, Took { messages, inside, whole }: Took) {
        if messages > 0 {
            self.each = Some(mixed(self.each, inside / messages));
            self.around = Some(mixed(self.around, whole.saturating_sub(inside)));
        }
    }
}

fn mixed(so_far: Option<Duration>, last: Duration) -> Duration {
    so_far.map_or(last, |so_far| (so_far * MEMORY + last) / (MEMORY + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn took(messages: u32, inside: Duration, whole: Duration) -> Took {
        Took { messages, inside, whole }
    }

    #[test]
    fn quick_messages_go_together_and_slow_ones_do_not() {
        // Messages, their time, all of it: how many go together, and what is waited for.
        let table = [
            (10, MS, 5 * MS, 40, 4 * MS),
            (1, 4 * MS, 8 * MS, 1, 4 * MS),
            (2, 200 * MS, 203 * MS, 1, 3 * MS),
            (4, Duration::ZERO, MS, 1_000_000, MS),
            (4, MS, 900 * MS, 3596, LONGEST),
        ];
        for (messages, inside, whole, at_least, waits) in table {
            let (mut pace, now) = (Pace::default(), Instant::now());
            pace.learn(took(messages, inside, whole));
            pace.begin(now);
            assert_eq!(
                (pace.at_least(), pace.beside()),
                (at_least, Some(now + waits)),
                "{messages} {inside:?} {whole:?}"
            );
        }
    }

    #[test]
    fn before_anything_is_known_a_message_goes_alone_and_soon() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!((pace.at_least(), pace.beside()), (1, None));
        pace.learn(took(0, MS, MS));
        pace.begin(now);
        assert_eq!((pace.at_least(), pace.beside()), (1, Some(now + UNKNOWN)));
    }

    #[test]
    fn what_is_known_follows_what_happens() {
        let mut pace = Pace::default();
        pace.learn(took(1, 100 * MS, 104 * MS));
        assert_eq!(pace.at_least(), 1);
        for _ in 0..100 {
            pace.learn(took(10, MS, 5 * MS));
        }
        assert_eq!(pace.at_least(), 39);
    }
}
