//! The place for one item between a handler and its reader.
//!
//! The reader pulls: the handler parks until somebody wants the next item. The handler's waker is kept, since it may
//! wait inside `join!` or a `FuturesUnordered`, which polls only what was woken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::policy::Progress;

#[derive(Debug)]
pub(crate) struct Channel<T> {
    state: Mutex<State<T>>,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct State<T> {
    item: Option<T>,
    wanted: bool,
    parked: Vec<Waker>,
}

impl<T> Channel<T> {
    pub(crate) fn new() -> Self {
        let state = Mutex::new(State { item: None, wanted: false, parked: Vec::new() });
        Self { state, progress: Arc::default() }
    }

    /// How far the stream has come.
    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader wants an item.
    pub(crate) fn want(&self) {
        let parked = {
            let mut state = self.lock();
            state.wanted = true;
            std::mem::take(&mut state.parked)
        };
        parked.into_iter().for_each(Waker::wake);
    }

    /// The reader takes the item, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.lock();
        let item = state.item.take();
        if item.is_some() {
            state.wanted = false;
        }
        item
    }

    /// The handler puts an item down, once the one before is gone.
    pub(crate) fn poll_put(&self, item: &mut Option<T>, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.item.is_none()
            && state.wanted
            && let Some(item) = item.take()
        {
            state.item = Some(item);
            // One item answers one wish.
            state.wanted = false;
            return Poll::Ready(());
        }
        if item.is_none() {
            return Poll::Ready(());
        }
        park(&mut state, cx);
        Poll::Pending
    }

    /// The handler waits until the reader wants another item.
    pub(crate) fn poll_wanted(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let wanted = state.wanted && state.item.is_none();
        self.progress.park(!wanted);
        if wanted {
            return Poll::Ready(());
        }
        park(&mut state, cx);
        Poll::Pending
    }
}

fn park<T>(state: &mut State<T>, cx: &Context<'_>) {
    if !state.parked.iter().any(|waker| waker.will_wake(cx.waker())) {
        state.parked.push(cx.waker().clone());
    }
}
