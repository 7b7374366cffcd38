//! A streaming handler's way out.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use super::channel::Channel;
use crate::app::App;
use crate::dispatch::{DispatchError, Failure, conclude, deadlock};
use crate::event::Raised;
use crate::inject::Scope;
use crate::store::{self, StoreError, StoreErrorKind};
use crate::unit::{Cx, Home, Meta, Tx, TxOf, TxSlot, Unit};

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
    pub(super) handler: &'static str,
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
    /// Cannot fail: a reader that goes away drops the handler here. In a handler that holds a transaction it ends the
    /// stream with [`DispatchError::UncommittedItem`](crate::DispatchError::UncommittedItem): deliver with
    /// [`commit`](Self::commit) there.
    pub async fn send(&mut self, item: T) {
        match &mut self.0 {
            Way::Collecting(items) => items.push(item),
            Way::Reader(driver) => driver.send(item).await,
        }
    }

    /// Commits what was written and raised since the last item, hands over this one, parks without a transaction until
    /// the reader wants more, and begins anew: `tx` is a fresh transaction then.
    ///
    /// Collecting, it keeps the item and leaves the transaction as it is.
    ///
    /// Where the store cannot commit, or cannot begin anew, the stream ends with
    /// [`DispatchError::Store`](crate::DispatchError::Store) or
    /// [`CommitUnknown`](crate::DispatchError::CommitUnknown), and the handler is dropped here: it has no transaction
    /// any more to go on with.
    ///
    /// # Errors
    /// Fails when `tx` is none of the app's store: begun by hand, on another database.
    pub async fn commit<Db: TxOf>(&mut self, tx: &mut Tx<Db>, item: T) -> Result<(), StoreError> {
        match &mut self.0 {
            Way::Collecting(items) => {
                items.push(item);
                Ok(())
            }
            Way::Reader(driver) => driver.commit(tx, item).await,
        }
    }
}

fn foreign() -> StoreError {
    let what = "`items.commit` was given a transaction of another database than the app's store";
    StoreError::new(StoreErrorKind::Configuration, what)
}

async fn begin<Db: TxOf>(store: &dyn store::driver::Driver) -> Result<Tx<Db>, StoreError> {
    Db::adopt(store.begin().await?.into_any()).map_err(|_| foreign())
}

impl<T> Driver<T> {
    async fn send(&mut self, item: T) {
        if deadlock::owns() {
            return self.fail(DispatchError::UncommittedItem { handler: self.handler }).await;
        }
        self.channel.progress().deliver();
        let raised = self.take_raised();
        if !raised.is_empty()
            && let Err(failure) = self.settle(TxSlot::empty(self.app.store().cloned()), raised).await
        {
            return self.fail(failure).await;
        }
        self.deliver(item).await;
    }

    /// Flushes, commits, processes events, delivers, parks, and begins anew.
    async fn commit<Db: TxOf>(&mut self, tx: &mut Tx<Db>, item: T) -> Result<(), StoreError> {
        let store = self.app.store().cloned().ok_or_else(foreign)?;
        let open = store.adopt(Db::take_out(tx)).map_err(|lent| {
            tx.put_back(lent);
            foreign()
        })?;
        // Committed from here on: nothing may begin the handler anew, though the item has not left yet.
        self.channel.progress().deliver();
        let mut slot = TxSlot::empty(Some(Arc::clone(&store)));
        slot.open = Some(open);
        if let Err(failure) = deadlock::released(self.settle(slot, self.take_raised())).await {
            return self.fail(failure).await;
        }
        self.deliver(item).await;
        // Not through the check for deadlocks: this handler's own transaction is not open.
        match begin(&*store).await {
            Ok(begun) => *tx = begun,
            Err(source) => return self.fail(source.into()).await,
        }
        Ok(())
    }

    /// Settles what was raised so far as at the end of a unit: with the handler's transaction, or in one of its own where
    /// something is to be stored.
    async fn settle(&self, tx: TxSlot<'static>, raised: Vec<Raised>) -> Result<(), Failure> {
        let mut cx = Cx::new(self.app.clone());
        cx.unit = Some(Box::new(Unit { tx, scope: Some(Arc::clone(&self.scope)), ..Unit::default() }));
        for raised in raised {
            cx.events.raise_erased(raised);
        }
        let conclusion = conclude(cx, Some(Arc::clone(&self.meta)), self.what).await?;
        conclusion.complete_at_once(&self.app, self.app.options().stream_event_concurrency).await
    }

    async fn deliver(&self, item: T) {
        let mut item = Some(item);
        poll_fn(|cx| self.channel.poll_put(&mut item, cx)).await;
        poll_fn(|cx| self.channel.poll_wanted(cx)).await;
    }

    fn take_raised(&self) -> Vec<Raised> {
        std::mem::take(&mut *self.raised.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the stream: the reader sees the failure when it next looks, the handler never runs on.
    async fn fail<R>(&self, failure: Failure) -> R {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        std::future::pending().await
    }
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Items")
    }
}
