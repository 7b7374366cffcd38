//! The time one attempt may take.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::dispatch::poll_caught;

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

/// How the call of a handler's function ended.
pub(crate) enum Called<O> {
    Returned(O),
    TimedOut,
    Panicked(String),
}

/// One call of a handler's function, for as long as it may take; a panic is a value.
///
/// Of a stream the wait for each item is bounded, its end included; the time it is parked is its reader's.
pub(crate) struct Call<'c, F> {
    future: Pin<&'c mut F>,
    after: Option<Duration>,
    progress: Option<Arc<Progress>>,
    /// Made when the call first waits: most never do.
    clock: Option<Box<Clock>>,
}

/// The time that is left.
struct Clock {
    timer: Pin<Box<Sleep>>,
    /// The item that it is for.
    at: Option<u64>,
}

impl<'c, F> Call<'c, F> {
    #[inline]
    pub(crate) fn new(future: Pin<&'c mut F>, after: Option<Duration>, progress: Option<Arc<Progress>>) -> Self {
        Self { future, after, progress, clock: None }
    }

    #[cold]
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(after) = self.after else { return false };
        let under_way = self.progress.as_ref().map(|progress| progress.item_under_way());
        let clock = self
            .clock
            .get_or_insert_with(|| Box::new(Clock { timer: Box::pin(sleep(after)), at: under_way.flatten() }));
        if let Some(at) = under_way {
            if at != clock.at {
                clock.at = at;
                clock.timer.as_mut().reset(Instant::now() + after);
            }
            if at.is_none() {
                return false;
            }
        }
        clock.timer.as_mut().poll(cx).is_ready()
    }
}

impl<F: Future> Future for Call<'_, F> {
    type Output = Called<F::Output>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match poll_caught(&mut self.future, cx) {
            Poll::Ready(Ok(output)) => Poll::Ready(Called::Returned(output)),
            Poll::Ready(Err(panic)) => Poll::Ready(Called::Panicked(panic)),
            Poll::Pending if self.is_late(cx) => Poll::Ready(Called::TimedOut),
            Poll::Pending => Poll::Pending,
        }
    }
}
