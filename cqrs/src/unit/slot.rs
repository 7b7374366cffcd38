//! Where a call's transaction is while the call runs, and how it gets home when the call was made `within` another.

use std::any::Any;
use std::sync::Arc;

use super::begin::Late;
use super::tx::{Tx, TxOf};
use crate::error::chain;
use crate::event::Node;
use crate::store::StoreError;
use crate::store::driver::{Driver, Transaction};

/// Where a borrowed transaction goes back to.
pub(crate) trait Home: Send {
    fn put_back(&mut self, tx: Box<dyn Any + Send>);
}

impl<Db: TxOf> Home for Tx<Db> {
    fn put_back(&mut self, tx: Box<dyn Any + Send>) {
        Db::put_back(self, tx);
    }
}

/// Makes a handler's `Begin` of the store and, for a call made `within` another, the open transaction.
pub(crate) type MakeLate<'f> = &'f dyn Fn(Arc<dyn Driver>, Option<Box<dyn Any + Send>>) -> Box<dyn Late>;

/// What the parameters `&mut Tx` and `&mut Begin` need of the slot.
pub trait TxAccess: Send {
    fn handle(&mut self) -> Option<&mut (dyn Any + Send)>;
    fn late(&mut self, make: MakeLate<'_>) -> Option<&mut (dyn Any + Send)>;
}

/// The transaction of a call: none yet, its own, or one borrowed from the handler that called `within`.
#[derive(Default)]
pub(crate) struct TxSlot<'a> {
    pub(crate) open: Option<Box<dyn Transaction>>,
    late: Option<Box<dyn Late>>,
    home: Option<&'a mut dyn Home>,
    store: Option<Arc<dyn Driver>>,
    /// How much a borrowed transaction carried before: what comes after is undone with the call.
    carried_before: usize,
    /// Whether the call's savepoint in a borrowed transaction has begun.
    in_savepoint: bool,
    /// Whether an attempt at the call's handler, or at one it caused, has a savepoint of its own within it.
    in_attempt: bool,
    /// Whether the call waits for its transaction for as long as others write: somebody else sees to its time.
    pub(crate) is_patient: bool,
}

impl<'a> TxSlot<'a> {
    /// A slot without a transaction, which may still be begun.
    pub(crate) fn empty(store: Option<Arc<dyn Driver>>) -> Self {
        let mut slot = Self::default();
        slot.store = store;
        slot
    }

    /// A slot with a transaction that belongs to another call and goes back to it.
    pub(crate) fn borrowed(store: Arc<dyn Driver>, mut tx: Box<dyn Transaction>, home: &'a mut dyn Home) -> Self {
        let carried_before = tx.carried().map_or(0, |carried| carried.0.len());
        let mut slot = Self::empty(Some(store));
        (slot.open, slot.home, slot.carried_before) = (Some(tx), Some(home), carried_before);
        slot
    }

    /// Begins the call's savepoint. Dropped in the middle, the transaction still goes home: the slot holds it, and a
    /// savepoint nobody waited for is undone by whoever was asked for it.
    pub(crate) async fn begin_savepoint(&mut self) -> Result<(), StoreError> {
        if let Some(tx) = self.open.as_mut() {
            tx.savepoint().await?;
            self.in_savepoint = true;
        }
        Ok(())
    }

    pub(crate) fn is_borrowed(&self) -> bool {
        self.home.is_some()
    }

    /// Ends the handler's `Begin`: what it began is the call's transaction from here on.
    pub(crate) fn end_late(&mut self) {
        let Some(tx) = self.late.take().and_then(|mut late| late.take()) else { return };
        if let Some(store) = &self.store {
            self.open = store.adopt(tx).ok();
        }
    }

    /// Forgets what calls made within this one raised: it is undone with it.
    pub(crate) fn forget_carried(&mut self) {
        if let Some(carried) = self.open.as_mut().and_then(|tx| tx.carried()) {
            carried.0.truncate(self.carried_before);
        }
    }

    /// Ends the call's savepoint and keeps what the call did and raised.
    ///
    /// Once the release is asked for, nobody can tell whether it has happened: dropped from here on the call has
    /// succeeded, its rows and its events together.
    pub(crate) async fn release(&mut self, raised: Vec<Node>) -> Result<(), StoreError> {
        let Some(tx) = self.open.as_mut() else { return Ok(()) };
        if let Some(carried) = tx.carried() {
            carried.0.extend(raised);
        }
        tx.release_savepoint().await?;
        self.in_savepoint = false;
        Ok(())
    }

    /// Gives a borrowed transaction back, its savepoint already ended.
    pub(crate) fn give_back(&mut self) {
        if let (Some(home), Some(tx)) = (self.home.take(), self.open.take()) {
            home.put_back(tx.into_any());
        }
    }
}

/// How one attempt at a handler is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptMark {
    /// Not at all: nothing runs after it in this unit.
    Nothing,
    /// With its transaction, which is its alone.
    Whole,
    /// By its savepoint. So much had been carried before.
    Savepoint { carried: usize },
}

impl TxSlot<'_> {
    /// Whether the transaction holds more than one handler's work: as the handler's kind says, or since it is borrowed.
    pub(crate) fn is_shared(&self, shared: bool) -> bool {
        shared || self.is_borrowed()
    }

    /// Makes room for an attempt that can be undone by itself: a savepoint where the transaction holds more than its work.
    pub(crate) async fn begin_attempt(&mut self, shared: bool) -> Result<AttemptMark, StoreError> {
        let shared = self.is_shared(shared);
        let Some(tx) = self.open.as_mut().filter(|_| shared) else { return Ok(AttemptMark::Whole) };
        let carried = tx.carried().map_or(0, |carried| carried.0.len());
        tx.savepoint().await?;
        self.in_attempt = true;
        Ok(AttemptMark::Savepoint { carried })
    }

    /// Keeps what an attempt did.
    pub(crate) async fn keep_attempt(&mut self, mark: AttemptMark) -> Result<(), StoreError> {
        if let (AttemptMark::Savepoint { .. }, Some(tx)) = (mark, self.open.as_mut()) {
            tx.release_savepoint().await?;
            self.in_attempt = false;
        }
        Ok(())
    }

    /// Takes back what an attempt did. Its own transaction ends with it; a statement that was given up halfway may keep
    /// the database busy for longer than anybody `waits`.
    pub(crate) async fn undo_attempt(&mut self, mark: AttemptMark, waits: bool) -> Result<(), StoreError> {
        match mark {
            AttemptMark::Nothing => Ok(()),
            AttemptMark::Savepoint { carried } => {
                let Some(tx) = self.open.as_mut() else { return Ok(()) };
                tx.rollback_to_savepoint().await?;
                if let Some(list) = tx.carried() {
                    list.0.truncate(carried);
                }
                self.in_attempt = false;
                Ok(())
            }
            AttemptMark::Whole => {
                if let Some(tx) = self.open.take().filter(|_| waits)
                    && let Err(error) = tx.rollback().await
                {
                    tracing::warn!(
                        error = chain(&error),
                        "the transaction of a failed call could not be rolled back; the database will"
                    );
                }
                Ok(())
            }
        }
    }
}

impl TxAccess for TxSlot<'_> {
    fn handle(&mut self) -> Option<&mut (dyn Any + Send)> {
        self.open.as_mut()?.handle()
    }

    fn late(&mut self, make: MakeLate<'_>) -> Option<&mut (dyn Any + Send)> {
        let store = Arc::clone(self.store.as_ref()?);
        let open = self.open.take().map(Transaction::into_any);
        Some(self.late.insert(make(store, open)).any_mut())
    }
}

impl Drop for TxSlot<'_> {
    fn drop(&mut self) {
        // A borrowed transaction outlives a call that is dropped in the middle: undo what the call did, hand it back.
        if self.home.is_some() {
            self.end_late();
            let mut tx = self.open.as_mut().filter(|_| self.in_savepoint);
            if self.in_attempt
                && let Some(tx) = tx.as_mut()
            {
                // Undone together with the call's own savepoint, whatever came of it.
                let _ = tx.start_rollback_to_savepoint();
            }
            if tx.is_none_or(|tx| tx.start_rollback_to_savepoint()) {
                self.forget_carried();
            }
            self.give_back();
        }
    }
}
