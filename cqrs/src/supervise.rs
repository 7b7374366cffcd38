//! Loops that run for as long as the app does: one that panics begins anew.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Caught;
use crate::retry::{RetryPolicy, random};

/// How long a loop has to run to be taken for sound again.
const SOUND: Duration = Duration::from_mins(1);

/// How often in a row a loop has failed. One that was sound for a while is as if it never had.
#[derive(Debug, Default)]
pub(crate) struct Failures(u32);

impl Failures {
    /// The pause after a loop has failed that ran for so long.
    pub(crate) fn pause(&mut self, ran: Duration) -> Duration {
        self.0 = if ran < SOUND { self.0.saturating_add(1) } else { 1 };
        RetryPolicy::OUTAGE.pause(self.0, random())
    }
}

/// Runs a loop to its end. Where it panics that is said, and it begins anew after a pause, until `stop`: without it, what the loop
/// does would stop in silence, while the rest of the app goes on as if nothing were wrong.
pub(crate) async fn supervised<F: Future<Output = ()>>(
    what: &str,
    stop: &CancellationToken,
    mut begin: impl FnMut() -> F,
) {
    let mut failures = Failures::default();
    loop {
        let since = Instant::now();
        let Err(panic) = Caught(Box::pin(begin())).await else { return };
        let pause = failures.pause(since.elapsed());
        tracing::error!(panic, ?pause, "{what} panicked; it begins anew");
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_begins_anew_ever_later_until_it_ends() {
        let (stop, mut begun) = (CancellationToken::new(), Vec::new());
        supervised("a loop", &stop, || {
            begun.push(Instant::now());
            let count = begun.len();
            async move { assert!(count > 3, "told to") }
        })
        .await;
        let pauses: Vec<Duration> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (pause, whole) in pauses.iter().zip([100, 200, 400].map(Duration::from_millis)) {
            assert!(whole / 2 <= *pause && *pause <= whole + Duration::from_millis(2), "{pauses:?}");
        }
        assert_eq!(pauses.len(), 3);
    }

    #[test]
    fn after_a_loop_that_was_sound_for_a_while_the_pauses_begin_anew() {
        let (mut failures, first) = (Failures::default(), Duration::from_millis(100));
        let short: Vec<Duration> = (0..4).map(|_| failures.pause(SOUND / 2)).collect();
        assert!(short[0] <= first && short[3] > first, "{short:?}");
        assert!(failures.pause(SOUND) <= first);
        assert!(failures.pause(Duration::ZERO) <= 2 * first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_pause() {
        let (stop, mut begun) = (CancellationToken::new(), 0);
        stop.cancel();
        supervised("a loop", &stop, || {
            begun += 1;
            async { panic!("told to") }
        })
        .await;
        assert_eq!(begun, 1);
    }
}
