//! One unit of work's transaction.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
// Savepoints go through sqlx, so that it counts them along with those a handler makes. `sqlx` itself does not give out
// the trait for that; `sqlx-core` is the part of it that does, and always of the same version.
use sqlx::mysql::MySqlTransactionManager as Manager;
use sqlx::{AssertSqlSafe, Executor, MySql, MySqlConnection};
use sqlx_core::transaction::TransactionManager;
use uuid::Uuid;

use super::connect::is_in_step;
use super::{MySqlStore, idempotent, inbox, outbox, sagas, work};
use crate::store::driver::{BoxFuture, IdempotentRequest, Transaction};
use crate::store::names::Names;
use crate::store::{
    AwaitedEvent, Claim, IdempotentClaim, IdempotentOutcome, InboxMark, OutboxRecord, Record, SagaChange, SagaSaved,
    StoreError, StoreErrorKind,
};
use crate::unit::{Carried, Tx};

/// Begins a unit of work. What it reads is what is committed by then, as on other servers: under the server's default,
/// REPEATABLE READ, the first statement of a handler would decide what all later ones see, our own among them, and what
/// it reads for writing would lock the gaps beside it against whoever else stores something. The level is that of this
/// transaction alone.
///
/// The savepoint is gone when the transaction is: see [`MySqlTransaction::check`].
pub(super) const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION; SAVEPOINT unit_1";

/// A transaction, and whether it is known to be the one that was begun.
#[derive(Debug)]
pub(super) struct MySqlTransaction {
    tx: Tx<MySql>,
    names: Arc<Names>,
    /// Nobody has used the connection since the transaction was last seen.
    is_sure: bool,
    /// It was found to be gone: what comes after is no part of it.
    is_gone: bool,
    /// The server runs several statements in one that is prepared.
    is_mariadb: bool,
}

impl MySqlTransaction {
    /// A transaction that was begun just now, by [`BEGIN`].
    pub(super) fn begun(mut tx: Tx<MySql>, store: &MySqlStore) -> Self {
        tx.is_marked = true;
        Self { is_sure: true, ..Self::adopted(tx, store) }
    }

    /// One that a handler has held.
    pub(super) fn adopted(tx: Tx<MySql>, store: &MySqlStore) -> Self {
        Self { tx, names: Arc::clone(&store.names), is_sure: false, is_gone: false, is_mariadb: store.is_mariadb }
    }

    /// Fails where this is no longer the transaction that was begun: a deadlock rolls all of it back, DDL commits it, and a
    /// handler that goes on after either does so outside of any transaction. Our own rows must not be written then, one by
    /// one and for good.
    ///
    /// Only the server knows, and only MariaDB can be asked. So a savepoint stands at the beginning, and one within every
    /// other: it goes with the transaction, and is then not there to be released. The next statement has to make the
    /// transaction sure again.
    async fn still_open(&mut self) -> Result<(), StoreError> {
        self.still_open_with(&mut Vec::new()).await
    }

    /// The same. Where the server has to be asked, and can do both at once, these rows are stored along with the question, and none
    /// of them is left: a round trip is a sixth of what a short unit of work takes.
    async fn still_open_with(&mut self, messages: &mut Vec<OutboxRecord>) -> Result<(), StoreError> {
        if self.is_gone {
            return Err(rolled_back());
        }
        let end = self.look(messages).await;
        self.is_gone = end.is_err();
        end
    }

    async fn look(&mut self, messages: &mut Vec<OutboxRecord>) -> Result<(), StoreError> {
        settle(&mut self.tx).await?;
        if std::mem::replace(&mut self.is_sure, false) {
            return Ok(());
        }
        let depth = depth(&self.tx).max(1);
        // One that was begun by hand has none. Outside of a transaction it is gone as soon as it is made.
        let mark = if self.tx.is_marked { String::new() } else { format!("SAVEPOINT unit_{depth}; ") };
        let guard = format!("{mark}RELEASE SAVEPOINT unit_{depth}; SAVEPOINT unit_{depth}; ");
        let is_in_step = if self.is_mariadb && outbox::go_along(messages) {
            outbox::insert_behind(&mut self.tx, &self.names, &guard, std::mem::take(messages)).await?
        } else {
            is_in_step(&mut self.tx, &guard).await
        };
        if !is_in_step.map_err(ended)? {
            return Err(out_of_step());
        }
        self.tx.is_marked = true;
        Ok(())
    }

    /// What a statement of ours gave: one that went well was in the transaction.
    fn seen<T, E: Into<StoreError>>(&mut self, end: Result<T, E>) -> Result<T, StoreError> {
        self.is_sure = end.is_ok();
        end.map_err(Into::into)
    }
}

impl Transaction for MySqlTransaction {
    fn handle(&mut self) -> Option<&mut (dyn Any + Send)> {
        self.is_sure = false;
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
            let mut ids: Vec<Uuid> = records.iter().map(Record::id).collect();
            let (mut messages, mut pieces) = (Vec::new(), Vec::new());
            for record in records {
                match record {
                    Record::Outbox(record) => messages.push(record),
                    Record::Work(record) => pieces.push(record),
                }
            }
            self.still_open_with(&mut messages).await?;
            outbox::insert(&mut self.tx, &self.names, messages).await?;
            let moved = work::insert(&mut self.tx, &self.names, pieces).await;
            for (own, kept) in self.seen(moved)? {
                ids.iter_mut().filter(|id| **id == own).for_each(|id| *id = kept);
            }
            Ok(ids)
        })
    }

    fn mark_handled(&mut self, marks: Vec<InboxMark>) -> BoxFuture<'_, Result<Vec<bool>, StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            let first = inbox::mark(&mut self.tx, &self.names, marks).await;
            self.seen(first)
        })
    }

    fn check(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.still_open())
    }

    fn lane_is_held(&mut self, lane: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        let lane = lane.to_owned();
        Box::pin(async move { Ok(work::lane_is_held(&mut self.tx, &self.names, &lane).await?) })
    }

    fn finish_work(&mut self, claim: Claim) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            let finished = work::finish(&mut self.tx, &self.names, claim).await;
            self.seen(finished)
        })
    }

    fn claim_idempotent(&mut self, request: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            let outcome = idempotent::claim(&mut self.tx, &self.names, request).await;
            self.seen(outcome)
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
            let finished = idempotent::finish(&mut self.tx, &self.names, claim, response, now).await;
            self.seen(finished)
        })
    }

    fn save_saga(&mut self, change: SagaChange) -> BoxFuture<'_, Result<SagaSaved, StoreError>> {
        Box::pin(async move {
            sagas::check(&change)?;
            self.still_open().await?;
            let saved = sagas::save_within(&mut self.tx, &self.names, &change, self.is_mariadb).await;
            self.seen(saved)
        })
    }

    fn keep_awaited(&mut self, event: AwaitedEvent, _: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.still_open().await?;
            let kept = sagas::keep(&mut self.tx, &self.names, event).await;
            self.seen(kept)
        })
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            // Outside of any transaction a savepoint does nothing, and its rollback would undo nothing.
            self.still_open().await?;
            self.tx.note_nested();
            Manager::begin(&mut self.tx, None).await?;
            let guard = format!("SAVEPOINT unit_{}", depth(&self.tx));
            let guarded = (*self.tx).execute(AssertSqlSafe(guard)).await;
            self.seen(guarded).map(drop)
        })
    }

    fn release_savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.is_sure = false;
            settle(&mut self.tx).await?;
            nested(&self.tx)?;
            self.tx.release().await.map_err(ended)
        })
    }

    fn rollback_to_savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.is_sure = false;
            settle(&mut self.tx).await?;
            nested(&self.tx)?;
            self.tx.roll_back().await.map_err(ended)
        })
    }

    fn start_rollback_to_savepoint(&mut self) -> bool {
        self.is_sure = false;
        self.tx.start_rollback()
    }

    /// Looks first whether there is something to commit: the server answers a commit outside of any transaction with `Ok`.
    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            if self.tx.is_lent() {
                return Err(lent());
            }
            settle(&mut self.tx).await?;
            match depth(&self.tx) {
                0 => Err(rolled_back()),
                1 => {
                    self.still_open().await?;
                    let Self { tx, .. } = *self;
                    let inner = tx.into_inner().ok_or_else(lent)?;
                    inner.commit().await.map_err(super::fault::of_commit)
                }
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
            // What a future that was dropped in the middle has ended, or what is gone with all of it, cannot be ended once more:
            // the transaction is undone when it is dropped.
            if settle(&mut tx).await.is_err() {
                return Ok(());
            }
            while depth(&tx) > 1 {
                match tx.roll_back().await {
                    Ok(()) => {}
                    Err(error) if super::fault::number(&error) == Some(NO_SAVEPOINT) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            tx.into_inner().ok_or_else(lent)?.rollback().await.map_err(StoreError::from)
        })
    }
}

/// Waits until everything is done that was asked for by dropping something. Where the connection has lost count of the
/// answers, sqlx may fall over one that it takes for another.
async fn settle(tx: &mut Tx<MySql>) -> Result<(), StoreError> {
    match AssertUnwindSafe(tx.settle()).catch_unwind().await {
        Ok(settled) => settled.map_err(ended),
        Err(_) => Err(out_of_step()),
    }
}

const LEAKED: &str = "a savepoint was neither ended nor dropped (`mem::forget`): nothing was committed";

/// SAVEPOINT does not exist.
const NO_SAVEPOINT: u16 = 1305;

/// Says what the end of a savepoint means that is not there.
fn ended(error: sqlx::Error) -> StoreError {
    if super::fault::number(&error) == Some(NO_SAVEPOINT) { rolled_back().with_source(error) } else { error.into() }
}

fn rolled_back() -> StoreError {
    let what = "the database ended this unit of work before its end, and the handler went on: nothing of the unit's own was \
         committed, but what the handler wrote may be. A deadlock rolls a transaction back: let the handler return the \
         error that its statement gave. DDL (`CREATE`, `ALTER`, `TRUNCATE`), `LOCK TABLES` and a `COMMIT` of its own commit \
         it: keep them out of handlers";
    StoreError::new(StoreErrorKind::Database, what)
}

fn out_of_step() -> StoreError {
    let what = "the connection has lost count of the server's answers, and nothing was committed: a statement of the handler's \
         was dropped before it ended (a timeout, a `select!`). Let it end, or let the handler return";
    StoreError::new(StoreErrorKind::Database, what)
}

fn lent() -> StoreError {
    StoreError::new(StoreErrorKind::Database, "the transaction is lent to a call made `within` it that has not ended")
}

fn nested(connection: &MySqlConnection) -> Result<(), StoreError> {
    if depth(connection) > 1 {
        return Ok(());
    }
    Err(StoreError::new(StoreErrorKind::Database, "there is no savepoint to end"))
}

/// How deep sqlx believes a connection to be: 0 outside of a transaction, 1 in one, more with savepoints.
pub(super) fn depth(connection: &MySqlConnection) -> usize {
    Manager::get_transaction_depth(connection)
}
