//! Loops that run for as long as the app does: one that panics begins anew.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Caught;
use crate::retry::{RetryPolicy, random};

/// How long a loop has to run to be taken for sound again.
const SOUND: Duration = Duration::from_mins(1);

/// Runs a loop to its end. Where it panics that is said, and it begins anew after a pause, until `stop`: without it, what the loop
/// does would stop in silence, while the rest of the app goes on as if nothing were wrong.
pub(crate) async fn supervised<F: Future<Output = ()>>(
    what: &str,
    stop: &CancellationToken,
    mut begin: impl FnMut() -> F,
) {
    let mut failed = 0_u32;
    loop {
        let since = Instant::now();
        let Err(panic) = Caught(Box::pin(begin())).await else { return };
        failed = if since.elapsed() < SOUND { failed.saturating_add(1) } else { 1 };
        let pause = RetryPolicy::OUTAGE.pause(failed, random());
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
