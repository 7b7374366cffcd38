//! What a caller may say about one stream.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};
use uuid::Uuid;

use crate::dispatch::current;
use crate::unit::MetaInit;

/// What a caller said about one stream; most say nothing.
#[derive(Default)]
pub(super) struct StreamOptions {
    /// For the stream in all.
    pub(super) total: Option<Timer>,
    /// For each item.
    pub(super) each: Option<Timer>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) correlation_id: Option<Uuid>,
}

impl StreamOptions {
    /// What is known about the call, which begins here.
    pub(super) fn meta(&mut self) -> MetaInit {
        let mut meta = current::caused_here();
        meta.headers = std::mem::take(&mut self.headers).into_iter().collect();
        meta.correlation_id = self.correlation_id.or(meta.correlation_id);
        meta
    }

    /// Whether the stream has had its time, and how much that was.
    pub(super) fn poll_total(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        poll(&mut self.total, cx)
    }

    /// Whether the item has had its time, and how much that was.
    pub(super) fn poll_each(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        poll(&mut self.each, cx)
    }
}

fn poll(timer: &mut Option<Timer>, cx: &mut Context<'_>) -> Poll<Duration> {
    match timer {
        Some(timer) => timer.poll(cx).map(|()| timer.after),
        None => Poll::Pending,
    }
}

/// A time to wait for, which begins with the first look at it.
pub(super) struct Timer {
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, sleep: None }
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(Instant::now() + self.after);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let after = self.after;
        self.sleep.get_or_insert_with(|| Box::pin(sleep(after))).as_mut().poll(cx)
    }
}
