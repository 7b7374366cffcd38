//! A stream that ends in time, whether anybody reads it or not.
//!
//! A body is asked for more when the connection has room for it. Where a client does not read, nobody polls the stream, and its
//! own deadline, or a look whether the app stops, would come when the client pleases. So the stream stands in a place that a
//! task takes it out of, and drops it, when its time is over; its reader finds there why.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use tokio_util::task::AbortOnDropHandle;

use crate::message::{Handled, Streaming};
use crate::{App, DispatchError, ItemStream};

/// A stream, and the task that watches over it. Dropped, both are.
pub(super) struct Watched<M: Streaming> {
    place: Arc<Place<M>>,
    _watch: AbortOnDropHandle<()>,
}

struct Place<M: Streaming>(Mutex<State<M>>);

enum State<M: Streaming> {
    /// It goes on; the reader's waker, while that waits.
    Open(ItemStream<M>, Option<Waker>),
    /// Its time was over: the reader has not been told.
    CutOff(DispatchError<<M as Handled>::Error>),
    Over,
}

/// An item, or why there is none.
type Item<M> = Result<<M as Streaming>::Item, DispatchError<<M as Handled>::Error>>;

impl<M: Streaming> Watched<M> {
    /// Watches over a stream, which is given so long in all.
    pub(super) fn new(app: &App, items: ItemStream<M>, timeout: Option<Duration>) -> Self {
        let state =
            if app.is_stopping() { State::CutOff(DispatchError::ShuttingDown) } else { State::Open(items, None) };
        let place = Arc::new(Place(Mutex::new(state)));
        // No longer than there is a reader: it holds the place.
        let watch = tokio::spawn(watch(Arc::downgrade(&place), app.stopping(), timeout));
        Self { place, _watch: AbortOnDropHandle::new(watch) }
    }

    /// The next item; `None` after the last.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Item<M>>> {
        let mut state = self.place.lock();
        match &mut *state {
            State::Open(items, reader) => {
                let polled = Pin::new(items).poll_next(cx);
                if polled.is_pending() && !reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
                    *reader = Some(cx.waker().clone());
                }
                polled
            }
            ended => Poll::Ready(match std::mem::replace(ended, State::Over) {
                State::CutOff(error) => Some(Err(error)),
                State::Open(..) | State::Over => None,
            }),
        }
    }
}

impl<M: Streaming> Place<M> {
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the stream out, and drops it, which drops its handler.
    fn empty(&self, why: impl FnOnce(&ItemStream<M>) -> DispatchError<M::Error>) {
        let mut state = self.lock();
        let State::Open(items, _) = &*state else { return };
        let why = why(items);
        let open = std::mem::replace(&mut *state, State::CutOff(why));
        drop(state);
        if let State::Open(items, reader) = open {
            drop(items);
            reader.into_iter().for_each(Waker::wake);
        }
    }
}

async fn watch<M: Streaming>(place: Weak<Place<M>>, stopping: impl Future<Output = ()>, timeout: Option<Duration>) {
    // Boxed: most streams have all the time there is.
    let mut time = timeout.map(|after| (after, Box::pin(tokio::time::sleep(after))));
    let over = async {
        match &mut time {
            Some((after, sleep)) => {
                sleep.await;
                *after
            }
            None => std::future::pending().await,
        }
    };
    let after = tokio::select! {
        biased;
        () = stopping => None,
        after = over => Some(after),
    };
    if let Some(place) = place.upgrade() {
        place.empty(|items| after.map_or(DispatchError::ShuttingDown, |after| items.late(after)));
    }
}
