//! The time one attempt may take.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// How far a stream has come, as its handler's way out tells it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    delivered: AtomicU64,
    parked: AtomicBool,
}

impl Progress {
    /// The handler delivers: from here on it cannot be begun anew.
    pub(crate) fn deliver(&self) {
        self.delivered.fetch_add(1, Ordering::AcqRel);
    }

    /// The handler waits for its reader, or does no longer.
    pub(crate) fn park(&self, parked: bool) {
        self.parked.store(parked, Ordering::Release);
    }

    /// Whether an item has left, or is about to.
    pub(crate) fn has_delivered(&self) -> bool {
        self.delivered.load(Ordering::Acquire) > 0
    }

    /// The item that the handler is at; `None` while it waits for its reader.
    fn item_under_way(&self) -> Option<u64> {
        (!self.parked.load(Ordering::Acquire)).then(|| self.delivered.load(Ordering::Acquire))
    }
}

/// One attempt took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Runs one attempt, for as long as it may take.
///
/// Of a stream the wait for each item is bounded, its end included; the time it is parked is its reader's.
pub(crate) async fn within<F: Future>(
    after: Option<Duration>,
    progress: Option<&Progress>,
    attempt: F,
) -> Result<F::Output, Elapsed> {
    let mut attempt = pin!(attempt);
    let Some(after) = after else { return Ok(attempt.await) };
    // Made when the attempt first waits: most never do.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let mut at = progress.and_then(Progress::item_under_way);
    poll_fn(|cx| {
        if let Poll::Ready(output) = attempt.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(after)));
        if let Some(progress) = progress {
            let now_at = progress.item_under_way();
            if now_at != at {
                at = now_at;
                timer.as_mut().reset(Instant::now() + after);
            }
            if at.is_none() {
                return Poll::Pending;
            }
        }
        timer.as_mut().poll(cx).map(|()| Err(Elapsed))
    })
    .await
}
