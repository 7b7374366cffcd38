//! One unit of work's transaction.

use std::any::Any;
use std::sync::Arc;
use std::time::SystemTime;

// Savepoints go through sqlx, so that it counts them along with those a handler makes. `sqlx` itself does not give out
// the trait for that; `sqlx-core` is the part of it that does, and always of the same version.
use sqlx::postgres::PgTransactionManager as Manager;
use sqlx::{PgConnection, Postgres};
use sqlx_core::transaction::TransactionManager;
use uuid::Uuid;

use super::{fault, idempotent, inbox, outbox, sagas, work};
use crate::store::driver::{BoxFuture, IdempotentRequest, Transaction};
use crate::store::names::Names;
use crate::store::{
    AwaitedEvent, Claim, IdempotentClaim, IdempotentOutcome, InboxMark, Record, SagaChange, SagaSaved, StoreError,
    StoreErrorKind,
};
use crate::unit::{Carried, Tx};

/// A transaction.
#[derive(Debug)]
pub(super) struct PostgresTransaction {
    tx: Tx<Postgres>,
    names: Arc<Names>,
    /// Whether a handler may have done something since the last statement of ours: it may have failed, and been ignored.
    in_doubt: bool,
}

impl PostgresTransaction {
    /// A transaction that was begun just now, or one that a handler gives back.
    pub(super) fn new(tx: Tx<Postgres>, names: Arc<Names>, in_doubt: bool) -> Self {
        Self { tx, names, in_doubt }
    }

    /// Fails where this is no longer the transaction that was begun.
    async fn check(&mut self) -> Result<(), StoreError> {
        self.tx.settle().await?;
        if depth(&self.tx) == 0 { Err(rolled_back()) } else { Ok(()) }
    }
}

impl Transaction for PostgresTransaction {
    fn handle(&mut self) -> Option<&mut (dyn Any + Send)> {
        self.in_doubt = true;
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
            self.check().await?;
            let mut ids: Vec<Uuid> = records.iter().map(Record::id).collect();
            let (mut messages, mut pieces) = (Vec::new(), Vec::new());
            for record in records {
                match record {
                    Record::Outbox(record) => messages.push(record),
                    Record::Work(record) => pieces.push(record),
                }
            }
            let stored = !messages.is_empty() || !pieces.is_empty();
            outbox::insert(&self.names, &mut self.tx, messages).await?;
            for (own, kept) in work::insert(&self.names, &mut self.tx, pieces).await? {
                ids.iter_mut().filter(|id| **id == own).for_each(|id| *id = kept);
            }
            self.in_doubt &= !stored;
            Ok(ids)
        })
    }

    fn mark_handled(&mut self, marks: Vec<InboxMark>) -> BoxFuture<'_, Result<Vec<bool>, StoreError>> {
        Box::pin(async move {
            self.check().await?;
            let first = inbox::mark(&self.names, &mut self.tx, &marks).await?;
            self.in_doubt = false;
            Ok(first)
        })
    }

    fn lane_is_held(&mut self, lane: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        let lane = lane.to_owned();
        Box::pin(async move { Ok(work::lane_is_held(&self.names, &mut self.tx, lane).await?) })
    }

    fn finish_work(&mut self, claim: Claim) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            self.check().await?;
            Ok(work::finish(&self.names, &mut self.tx, claim).await?)
        })
    }

    fn claim_idempotent(&mut self, request: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>> {
        Box::pin(async move {
            self.check().await?;
            Ok(idempotent::claim_within(&self.names, &mut self.tx, request).await?)
        })
    }

    fn finish_idempotent(
        &mut self,
        claim: IdempotentClaim,
        response: Vec<u8>,
        now: SystemTime,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            self.check().await?;
            Ok(idempotent::finish(&self.names, &mut self.tx, claim, response, now).await?)
        })
    }

    fn save_saga(&mut self, change: SagaChange) -> BoxFuture<'_, Result<SagaSaved, StoreError>> {
        Box::pin(async move {
            self.check().await?;
            let saved = sagas::save(&self.names, &mut *self.tx, change).await?;
            self.in_doubt = false;
            Ok(saved)
        })
    }

    fn keep_awaited(&mut self, event: AwaitedEvent, _: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.check().await?;
            sagas::keep(&self.names, &mut self.tx, event).await?;
            self.in_doubt = false;
            Ok(())
        })
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.check().await?;
            self.tx.note_nested();
            Ok(Manager::begin(&mut self.tx, None).await?)
        })
    }

    fn release_savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.check().await?;
            nested(&self.tx)?;
            Ok(self.tx.release().await?)
        })
    }

    fn rollback_to_savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.check().await?;
            nested(&self.tx)?;
            Ok(self.tx.roll_back().await?)
        })
    }

    fn start_rollback_to_savepoint(&mut self) -> bool {
        self.tx.start_rollback()
    }

    /// Asks first whether there is anything left to commit: PostgreSQL undoes a transaction in which a statement failed, and answers
    /// `COMMIT` as if nothing were wrong. What of ours was stored last has asked already.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        let Self { mut tx, in_doubt, .. } = *self;
        Box::pin(async move {
            if tx.is_lent() {
                return Err(lent());
            }
            tx.settle().await?;
            match depth(&tx) {
                0 => return Err(rolled_back()),
                1 => {}
                _ => return Err(StoreError::new(StoreErrorKind::Database, LEAKED)),
            }
            if in_doubt {
                sqlx::query("SELECT 1").execute(&mut *tx).await?;
            }
            let inner = tx.into_inner().ok_or_else(lent)?;
            inner.commit().await.map_err(fault::of_commit)
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

/// sqlx undoes the whole transaction where the future that begins a savepoint is dropped.
fn rolled_back() -> StoreError {
    let what = "a call of `tx.savepoint()` was dropped before it ended (a timeout, a `select!`), which undoes the whole unit of work: \
         nothing was committed but what the handler wrote afterwards. Let it end";
    StoreError::new(StoreErrorKind::Database, what)
}

fn lent() -> StoreError {
    StoreError::new(StoreErrorKind::Database, "the transaction is lent to a call made `within` it that has not ended")
}

fn nested(connection: &PgConnection) -> Result<(), StoreError> {
    if depth(connection) > 1 {
        return Ok(());
    }
    Err(StoreError::new(StoreErrorKind::Database, "there is no savepoint to end"))
}

/// How deep sqlx believes a connection to be: 0 outside of a transaction, 1 in one, more with savepoints.
pub(super) fn depth(connection: &PgConnection) -> usize {
    Manager::get_transaction_depth(connection)
}
