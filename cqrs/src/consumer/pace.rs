//! When a batch begins beside others, and how large it is at least. Pure: time is an argument.
//!
//! What a transaction costs whatever is in it, its round trips, is known from the batches so far, and so is what one message takes
//! in it. Where handlers are quick it would be a waste to give each message that comes a transaction of its own as long as there
//! are turns: the next ones wait for as long as a transaction takes, and then go together. Where one message takes longer than the
//! transaction around it nothing waits.

use std::time::Duration;

use tokio::time::Instant;

/// What is waited for beside a batch, before anything is known.
const UNKNOWN: Duration = Duration::from_millis(1);
/// What a transaction counts for at most: one that the database kept waiting says nothing about the next.
const LONGEST: Duration = Duration::from_millis(20);
/// The weight of what was, beside the last batch.
const MEMORY: u32 = 7;

/// What messages took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// Such as shared a transaction: in their handlers, and beside them.
    Together { messages: u32, inside: Duration, around: Duration },
    /// Such as had one each, with it.
    Alone { messages: u32, whole: Duration },
}

/// What is known of the messages so far.
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
    /// A batch begins, and leaves nothing that could begin beside it.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
    }

    /// From when on a batch may begin beside another one; `None` where there is nothing to wait for.
    pub(super) fn beside(&self) -> Option<Instant> {
        if self.each.is_some() && self.at_least() == 1 {
            return None;
        }
        Some(self.begun? + self.around.unwrap_or(UNKNOWN))
    }

    /// How many messages take as long as the transaction that they share: so many go together, where there are as many.
    pub(super) fn at_least(&self) -> usize {
        let Some(each) = self.each else { return 1 };
        let around = self.around.unwrap_or(UNKNOWN);
        usize::try_from(around.as_nanos() / each.as_nanos().max(1)).unwrap_or(usize::MAX).max(1)
    }

    /// Takes in what messages took.
    pub(super) fn learn(&mut self, took: Took) {
        match took {
            Took::Together { messages, inside, around } if messages > 0 => {
                self.each = Some(mixed(self.each, inside / messages));
                self.around = Some(mixed(self.around, around.min(LONGEST)));
            }
            Took::Alone { messages, whole } if messages > 0 => {
                let each = (whole / messages).saturating_sub(self.around.unwrap_or(LONGEST));
                // A quick one says nothing before it is known what the transaction was.
                if self.around.is_some() || !each.is_zero() {
                    self.each = Some(mixed(self.each, each));
                }
            }
            Took::Together { .. } | Took::Alone { .. } => {}
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

    fn together(messages: u32, inside: Duration, around: Duration) -> Took {
        Took::Together { messages, inside, around }
    }

    #[test]
    fn quick_messages_go_together_and_slow_ones_do_not() {
        // Messages, their time, that beside them: how many go together, and what is waited for.
        let table = [
            (10, MS, 4 * MS, 40, Some(4 * MS)),
            (1, 4 * MS, 4 * MS, 1, None),
            (2, 200 * MS, 3 * MS, 1, None),
            (4, Duration::ZERO, MS, 1_000_000, Some(MS)),
            (4, MS, 900 * MS, 80, Some(LONGEST)),
        ];
        for (messages, inside, around, at_least, waits) in table {
            let (mut pace, now) = (Pace::default(), Instant::now());
            pace.learn(together(messages, inside, around));
            pace.begin(now);
            let waits = waits.map(|waits| now + waits);
            assert_eq!((pace.at_least(), pace.beside()), (at_least, waits), "{messages} {inside:?} {around:?}");
        }
    }

    #[test]
    fn before_anything_is_known_a_message_goes_alone_and_soon() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!((pace.at_least(), pace.beside()), (1, None));
        pace.learn(together(0, MS, MS));
        pace.learn(Took::Alone { messages: 1, whole: 5 * MS });
        pace.begin(now);
        assert_eq!((pace.at_least(), pace.beside()), (1, Some(now + UNKNOWN)));
    }

    #[test]
    fn what_is_known_follows_what_happens() {
        let mut pace = Pace::default();
        pace.learn(Took::Alone { messages: 1, whole: 500 * MS });
        assert_eq!(pace.at_least(), 1, "slow ones show themselves alone");
        for _ in 0..100 {
            pace.learn(together(10, MS, 4 * MS));
        }
        assert!(pace.at_least() > 35);
        pace.learn(Took::Alone { messages: 3, whole: 12 * MS });
        assert!(pace.at_least() > 35, "no more than their transactions");
        pace.learn(Took::Alone { messages: 1, whole: 5_000 * MS });
        assert_eq!((pace.at_least(), pace.beside()), (1, None), "one that became slow is enough");
    }
}
