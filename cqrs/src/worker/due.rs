//! When something is due that is stored, and until when whoever claims it waits.

use std::time::{Duration, SystemTime};

use crate::app::App;
use crate::store::StoreError;

/// The longest pause between two looks at the store with nothing to do: what other processes store shows up so late. With what a look
/// takes it is within the second that timers are promised.
const IDLE: Duration = Duration::from_millis(900);

/// The pause where something was due and could not be claimed: somebody else was quicker, or will be.
const CONTESTED: Duration = Duration::from_millis(200);

/// When something is due, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Something has happened here since it was asked.
    Unknown,
    At(Option<SystemTime>),
}

impl Due {
    /// Waits until something is due, or long enough to look again; the last look was at what was due at `looked`. What is due next is asked
    /// once something has happened here, or when it was due: what others store meanwhile the next claim finds, and who is idle asks half
    /// as often.
    pub(crate) async fn wait(
        &mut self,
        app: &App,
        looked: SystemTime,
        ask: impl Future<Output = Result<Option<SystemTime>, StoreError>>,
    ) {
        let due = match *self {
            Self::At(due) if due.is_none_or(|due| due > looked) => due,
            _ => {
                // Where the store is out of reach: no tighter loop than with nothing to do.
                let due = ask.await.ok().flatten();
                *self = Self::At(due);
                due
            }
        };
        app.clock().sleep_until(next_look(due, looked, app.clock().now())).await;
    }
}

/// When to look again, where the last look was at what was due at `looked`.
fn next_look(due: Option<SystemTime>, looked: SystemTime, now: SystemTime) -> SystemTime {
    match due {
        // Not due then: it is in time, to the moment, also where that has come since.
        Some(due) if due > looked => due.min(now + IDLE),
        // Due then, yet not claimed: look again soon, not at once.
        Some(_) => now + CONTESTED,
        None => now + IDLE,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::next_look;

    #[test]
    fn what_falls_due_is_looked_for_to_the_moment_and_what_somebody_else_has_not_at_once() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let next = |due: Option<u64>| next_look(due.map(at), at(10_000), at(10_003));
        assert_eq!([next(Some(10_050)), next(Some(10_004)), next(Some(10_001))], [at(10_050), at(10_004), at(10_001)]);
        assert_eq!([next(Some(11_003)), next(Some(20_000)), next(None)], [at(10_903); 3]);
        assert_eq!([next(Some(10_000)), next(Some(9_000))], [at(10_203); 2]);
    }
}
