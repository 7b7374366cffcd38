//! One unit of work's transaction.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

// Savepoints go through sqlx, so that it counts them along with those a handler makes. `sqlx` itself does not give out
// the trait for that; `sqlx-core` is the part of it that does, and always of the same version.
use sqlx::sqlite::SqliteTransactionManager as Manager;
use sqlx::{Sqlite, SqliteConnection};
use sqlx_core::transaction::TransactionManager;
use uuid::Uuid;

use super::{idempotent, inbox, outbox, sagas, work};
use crate::store::driver::{BoxFuture, IdempotentRequest, Transaction};
use crate::store::{
    AwaitedEvent, Claim, IdempotentClaim, IdempotentOutcome, InboxMark, Record, SagaChange, SagaSaved, StoreError,
    StoreErrorKind,
};
use crate::unit::{Carried, Tx};

/// A transaction, and whether SQLite has ended it by itself.
#[derive(Debug)]
pub(super) struct SqliteTransaction {
    tx: Tx<Sqlite>,
    undone: Undone,
}

/// Whether SQLite may have rolled back by itself, as it does on a full disk and on `ON CONFLICT ROLLBACK`.
///
/// A handler that ignores such an error goes on outside of any transaction, and what it wrote before is gone. Our own
/// rows must not be written then, one by one and for good.
#[derive(Debug, Clone)]
pub(super) struct Undone {
    /// Set whenever the writing connection rolls back, cleared when it begins. Without such a hook always true.
    perhaps: Arc<AtomicBool>,
    hooked: bool,
}

impl Undone {
    pub(super) fn new(hooked: bool) -> Self {
        Self { perhaps: Arc::new(AtomicBool::new(true)), hooked }
    }

    pub(super) fn note(&self) {
        self.perhaps.store(true, Ordering::Release);
    }

    pub(super) fn forget(&self) {
        self.perhaps.store(!self.hooked, Ordering::Release);
    }

    /// Asks the connection only where the hook leaves it open: it may have noted another connection's rollback.
    async fn check(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        if !self.perhaps.load(Ordering::Acquire) || sqlx::query("BEGIN").execute(&mut *connection).await.is_err() {
            return Ok(());
        }
        // It let us begin: so there was no transaction any more.
        sqlx::query("ROLLBACK").execute(connection).await?;
        Err(rolled_back())
    }
}

impl SqliteTransaction {
    /// A transaction that was begun just now.
    pub(super) fn new(tx: Tx<Sqlite>, undone: Undone) -> Self {
        Self { tx, undone }
    }

    /// Fails where this is no longer the transaction that was begun.
    async fn still_open(&mut self) -> Result<(), StoreError> {
        self.tx.settle().await?;
        self.undone.check(&mut self.tx).await
    }
}

impl Transaction for SqliteTransaction {
    fn handle(&mut self) -> Option<&mut (dyn Any + Send)> {
        Some(&mut self.tx)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        Box::new(self.tx)
    }

    fn carried(&mut self) -> Option<&mut Carried> {
        Some(self.tx.carried())
    }

    fn store(&mut self, records: Vec<Record>) -> BoxFuture<'_, Result<Vec<Uuid>, StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            let mut ids: Vec<Uuid> = records.iter().map(Record::id).collect();
            let (mut messages, mut pieces) = (Vec::new(), Vec::new());
            for record in records {
                match record {
                    Record::Outbox(record) => messages.push(record),
                    Record::Work(record) => pieces.push(record),
                }
            }
            outbox::insert(&mut self.tx, messages).await?;
            for (own, kept) in work::insert(&mut self.tx, pieces).await? {
                ids.iter_mut().filter(|id| **id == own).for_each(|id| *id = kept);
            }
            Ok(ids)
        })
    }

    fn mark_handled(&mut self, marks: Vec<InboxMark>) -> BoxFuture<'_, Result<Vec<bool>, StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            inbox::mark(&mut self.tx, &marks).await
        })
    }

    fn check(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.still_open())
    }

    fn lane_is_held(&mut self, lane: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        let lane = lane.to_owned();
        Box::pin(async move { Ok(work::lane_is_held(&mut self.tx, lane).await?) })
    }

    fn finish_work(&mut self, claim: Claim) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            Ok(work::finish(&mut self.tx, claim).await?)
        })
    }

    fn claim_idempotent(&mut self, request: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            Ok(idempotent::claim_within(&mut self.tx, request).await?)
        })
    }

    fn finish_idempotent(
        &mut self,
        claim: IdempotentClaim,
        response: Vec<u8>,
        now: SystemTime,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            Ok(idempotent::finish(&mut self.tx, claim, response, now).await?)
        })
    }

    fn save_saga(&mut self, change: SagaChange) -> BoxFuture<'_, Result<SagaSaved, StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            Ok(sagas::save_within(&mut self.tx, change).await?)
        })
    }

    fn keep_awaited(&mut self, event: AwaitedEvent, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            sagas::keep(&mut self.tx, event, now).await
        })
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            // Outside of any transaction it would begin one, and that would be committed in the place of the unit's.
            self.still_open().await?;
            self.tx.note_nested();
            Ok(Manager::begin(&mut self.tx, None).await?)
        })
    }

    fn release_savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.tx.settle().await?;
            nested(&self.tx)?;
            Ok(self.tx.release().await?)
        })
    }

    fn rollback_to_savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.tx.settle().await?;
            nested(&self.tx)?;
            Ok(self.tx.roll_back().await?)
        })
    }

    fn start_rollback_to_savepoint(&mut self) -> bool {
        self.tx.start_rollback()
    }

    /// Looks first whether there is something to commit: sqlx answers a commit outside of any transaction with `Ok`.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        let Self { mut tx, undone } = *self;
        Box::pin(async move {
            if tx.is_lent() {
                return Err(lent());
            }
            tx.settle().await?;
            undone.check(&mut tx).await?;
            match depth(&tx) {
                0 => Err(rolled_back()),
                1 => tx.commit().await,
                _ => Err(StoreError::new(StoreErrorKind::Database, LEAKED)),
            }
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        let Self { mut tx, .. } = *self;
        Box::pin(async move {
            if tx.is_lent() {
                return Err(lent());
            }
            tx.settle().await?;
            while depth(&tx) > 1 {
                tx.roll_back().await?;
            }
            tx.into_inner().ok_or_else(lent)?.rollback().await.map_err(StoreError::from)
        })
    }
}

const LEAKED: &str = "a savepoint was neither ended nor dropped (`mem::forget`): nothing was committed";

fn rolled_back() -> StoreError {
    let what = "the database rolled this unit of work back before its end, and a handler went on: nothing was committed \
         but what the handler wrote afterwards. SQLite does so by itself (a full disk, `ON CONFLICT ROLLBACK`): let the \
         handler return the error that its statement gave. So does a call of `tx.savepoint()` that is dropped before it \
         ends (a timeout, a `select!`): let it end";
    StoreError::new(StoreErrorKind::Database, what)
}

fn lent() -> StoreError {
    StoreError::new(StoreErrorKind::Database, "the transaction is lent to a call made `within` it that has not ended")
}

fn nested(connection: &SqliteConnection) -> Result<(), StoreError> {
    if depth(connection) > 1 {
        return Ok(());
    }
    Err(StoreError::new(StoreErrorKind::Database, "there is no savepoint to end"))
}

/// How deep sqlx believes a connection to be: 0 outside of a transaction, 1 in one, more with savepoints.
pub(super) fn depth(connection: &SqliteConnection) -> usize {
    Manager::get_transaction_depth(connection)
}
