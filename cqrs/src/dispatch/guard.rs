//! Polls a handler: catches its panic, and marks the thread with what it is and whether it holds a transaction.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::current::Current;
use super::{current, deadlock};

/// A handler's future whose panic is a value.
pub(crate) struct Caught<F>(pub(crate) F);

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        poll_caught(&mut self.0, cx)
    }
}

/// Polls once; a panic is its message.
///
/// The output is written where it is returned from: handed out through `catch_unwind` it would be copied twice.
#[inline(always)]
#[expect(clippy::inline_always, reason = "left to itself it stays a call, and its copies a tenth of a call's cost")]
pub(crate) fn poll_caught<F: Future + Unpin>(future: &mut F, cx: &mut Context<'_>) -> Poll<Result<F::Output, String>> {
    let mut output = Poll::Pending;
    match std::panic::catch_unwind(AssertUnwindSafe(|| output = Pin::new(future).poll(cx))) {
        Ok(()) => output.map(Ok),
        Err(panic) => Poll::Ready(Err(panic_text(&*panic))),
    }
}

/// Runs what is the user's outside of a handler; a panic is its message.
pub(crate) fn caught<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    std::panic::catch_unwind(AssertUnwindSafe(run)).map_err(|panic| panic_text(&*panic))
}

/// A handler's future that runs in a unit of work.
pub(crate) struct Guarded<F> {
    future: F,
    holds: bool,
    call: Option<Current>,
}

impl<F> Guarded<F> {
    pub(crate) fn new(future: F, holds: bool) -> Self {
        Self { future, holds, call: None }
    }
}

impl<F: Future + Unpin> Future for Guarded<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outer = current::swap(this.call.take());
        let (poll, holds) = deadlock::polling(this.holds, || poll_caught(&mut this.future, cx));
        this.call = current::swap(outer);
        this.holds = holds;
        poll
    }
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "(a panic without a message)".to_owned()
    }
}
