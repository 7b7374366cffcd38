//! A streaming handler's way out.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use super::channel::Channel;
use crate::app::App;
use crate::dispatch::{DispatchError, Failure, records_and_after};
use crate::event::Raised;
use crate::inject::Scope;
use crate::unit::Meta;

/// A streaming handler's way out: [`send`](Self::send) hands over an item and parks until the reader wants more.
///
/// ```
/// use cqrs::Items;
///
/// async fn numbers(items: &mut Items<u32>) {
///     for number in 1..=3 {
///         items.send(number).await;
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut items = Items::collecting();            // a handler is an ordinary function: call it
/// numbers(&mut items).await;
/// assert_eq!(items.into_vec(), [1, 2, 3]);
/// # }
/// ```
pub struct Items<T>(Way<T>);

enum Way<T> {
    Collecting(Vec<T>),
    Reader(Driver<T>),
}

/// What an item's delivery needs of the call it belongs to.
pub(super) struct Driver<T> {
    pub(super) channel: Arc<Channel<T>>,
    pub(super) raised: Arc<Mutex<Vec<Raised>>>,
    pub(super) app: App,
    pub(super) meta: Arc<Meta>,
    pub(super) scope: Arc<Scope>,
    /// The first failure of what an item's events set off, for the end of the stream.
    pub(super) failure: Arc<Mutex<Option<Failure>>>,
    /// Set where the handler holds a transaction: what it delivers then is not committed.
    pub(super) holds_tx: Option<&'static str>,
    pub(super) what: &'static str,
}

impl<T> Items<T> {
    /// Makes one that keeps what is sent and never parks, for calling a handler as an ordinary function.
    #[must_use]
    pub const fn collecting() -> Self {
        Self(Way::Collecting(Vec::new()))
    }

    /// What was sent so far; empty in a handler that is being read.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        match self.0 {
            Way::Collecting(items) => items,
            Way::Reader(_) => Vec::new(),
        }
    }

    pub(super) fn reader(driver: Driver<T>) -> Self {
        Self(Way::Reader(driver))
    }

    /// Hands an item to the reader and parks until it wants more. Events raised before are processed first.
    ///
    /// Cannot fail: a reader that goes away drops the handler here.
    pub async fn send(&mut self, item: T) {
        match &mut self.0 {
            Way::Collecting(items) => items.push(item),
            Way::Reader(driver) => driver.send(item).await,
        }
    }
}

impl<T> Driver<T> {
    async fn send(&mut self, item: T) {
        if let Some(handler) = self.holds_tx {
            self.fail(DispatchError::UncommittedItem { handler });
            // The reader sees the failure when it next looks; the handler never runs on.
            return std::future::pending().await;
        }
        let raised = std::mem::take(&mut *self.raised.lock().unwrap_or_else(PoisonError::into_inner));
        if !raised.is_empty()
            && let Err(failure) = records_and_after(&self.app, raised, &self.meta, &self.scope, self.what).await
        {
            self.fail(failure);
            return std::future::pending().await;
        }
        let mut item = Some(item);
        poll_fn(|cx| self.channel.poll_put(&mut item, cx)).await;
        poll_fn(|cx| self.channel.poll_wanted(cx)).await;
    }

    fn fail(&self, failure: Failure) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Items")
    }
}
