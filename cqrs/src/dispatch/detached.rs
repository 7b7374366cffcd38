//! A future that outlives whoever awaits it: dropped in the middle, it goes on on the runtime.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::task::TaskTracker;

use crate::store::driver::BoxFuture;

/// The part of a call from its commit on.
///
/// Costs nothing while somebody listens: only a drop in the middle spawns it, tracked so that shutdown waits for it.
pub(crate) struct Detached<T: Send + 'static> {
    future: Option<BoxFuture<'static, T>>,
    tracker: TaskTracker,
}

impl<T: Send + 'static> Detached<T> {
    pub(crate) fn new(tracker: TaskTracker, future: BoxFuture<'static, T>) -> Self {
        Self { future: Some(future), tracker }
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(future) = self.future.as_mut() else { return Poll::Pending };
        let poll = future.as_mut().poll(cx);
        if poll.is_ready() {
            self.future = None;
        }
        poll
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // What comes of it is dropped while it still counts: that may begin more.
            self.tracker.spawn_on(async move { drop(future.await) }, &runtime);
        }
    }
}
