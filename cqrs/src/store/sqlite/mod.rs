//! The store on SQLite.
//!
//! `connect` opens the file and `fault` names it in errors; `migrate` brings the schema up to date; `transaction` is
//! the unit of work's; `outbox`, `settle`, `leases`, `work`, `timer`, `inbox`, `idempotent`, `dead` and `upkeep` hold the statements of
//! their tables, `sagas` those of sagas, `operations` with `find` and `operate` those of people who operate a service, and `rows` what
//! they share.

mod connect;
mod dead;
mod fault;
mod find;
mod idempotent;
mod inbox;
mod leases;
mod migrate;
mod operate;
mod operations;
mod outbox;
mod rows;
mod sagas;
mod settle;
#[cfg(test)]
mod tests;
mod timer;
mod transaction;
mod upkeep;
mod work;

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use std::time::SystemTime;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::{SqlSafeStr, Sqlite, SqlitePool, Transaction};

use self::fault::Place;
use self::transaction::{SqliteTransaction, Undone};
use super::claiming::{self, Looking, Request};
use super::desk::Desk;
use super::driver::{self, BoxFuture, ClaimRequest, Driver, Gift, HandleSpec, IdempotentRequest, WorkShare};
use super::{
    Claim, ClaimedOutbox, ClaimedWork, Counts, DeadLetter, DeadLetterId, IdempotentClaim, IdempotentOutcome, InboxMark,
    Operations, OutboxOutcome, Sagas, Standing, StoreError, TimerRecord, WorkQueue,
};
use crate::unit::Tx;

/// What transactions of this store lend to handlers.
pub(crate) const HANDLE: HandleSpec = HandleSpec { type_id: TypeId::of::<Tx<Sqlite>>(), name: "sqlx::Sqlite" };

/// Takes the write lock at once. A deferred transaction that reads, and writes after somebody else wrote, fails without
/// waiting, whatever the busy timeout.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// The store on an SQLite file.
pub struct SqliteStore {
    /// The pool that is given out, and that reads.
    pool: SqlitePool,
    /// What writes: a pool of one connection, or the user's pool.
    writer: SqlitePool,
    /// Whether the pool is the user's.
    is_lent: bool,
    undone: Undone,
    migrator: Option<Migrator>,
    place: Place,
    /// Who leases the outbox: unique for each start of a process.
    me: String,
    /// Held while outbox rows are claimed.
    claiming: tokio::sync::Mutex<Looking>,
    desk: Mutex<Desk>,
    /// When rows were last read from the first one on.
    started_over: AtomicI64,
}

impl SqliteStore {
    async fn write(&self) -> Result<Tx<Sqlite>, StoreError> {
        let connection = self.named(self.sound_connection().await)?;
        let tx = self.named(Transaction::begin(connection, Some(BEGIN.into_sql_str())).await)?;
        self.undone.forget();
        Ok(Tx::new(tx))
    }

    /// A connection that sqlx does not believe to be in a transaction. It does so for ever where SQLite rolled back by
    /// itself, or where a future was dropped just while it ended a savepoint; closing rolls back what may be open.
    async fn sound_connection(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        loop {
            let mut connection = self.writer.acquire().await?;
            if transaction::depth(&connection) == 0 {
                return Ok(connection);
            }
            connection.close_on_drop();
        }
    }

    /// Names the file in an error.
    fn named<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        result.map_err(|error| self.place.explain(error))
    }
}

impl Driver for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn handle(&self) -> Option<HandleSpec> {
        Some(HANDLE)
    }

    fn gifts(&self) -> Vec<Gift> {
        vec![
            Gift::new(self.pool.clone()),
            #[cfg(feature = "any")]
            Gift::new(crate::store::AnyPool::from(self.pool.clone())),
        ]
    }

    fn migrate(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.bring_up_to_date())
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn driver::Transaction>, StoreError>> {
        Box::pin(async move {
            let tx = self.write().await?;
            Ok(Box::new(SqliteTransaction::new(tx, self.undone.clone())) as Box<dyn driver::Transaction>)
        })
    }

    fn adopt(&self, handle: Box<dyn Any + Send>) -> Result<Box<dyn driver::Transaction>, Box<dyn Any + Send>> {
        let tx = handle.downcast::<Tx<Sqlite>>()?;
        Ok(Box::new(SqliteTransaction::new(*tx, self.undone.clone())))
    }

    fn claim_outbox(&self, request: ClaimRequest<'_>) -> BoxFuture<'_, Result<Vec<ClaimedOutbox>, StoreError>> {
        let request = Request::new(&request);
        Box::pin(self.take_outbox(request))
    }

    fn settle_outbox(&self, outcomes: Vec<(Claim, OutboxOutcome)>) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.end_outbox(outcomes))
    }

    fn renew_outbox(
        &self,
        claims: Vec<Claim>,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>> {
        Box::pin(self.hold_outbox(claims, rows::micros(lease_until)))
    }

    fn claim_work<'a>(
        &'a self,
        shares: &[WorkShare<'a>],
        request: ClaimRequest<'_>,
    ) -> BoxFuture<'a, Result<Vec<ClaimedWork>, StoreError>> {
        let (wanted, request) = (claiming::Wanted::new(shares, rows::queues), Request::new(&request));
        Box::pin(self.take_work(wanted, request))
    }

    fn renew_work(&self, claims: Vec<Claim>, lease_until: SystemTime) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>> {
        Box::pin(self.hold_work(claims, lease_until))
    }

    fn retry_work(&self, claim: Claim, due: SystemTime, error: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        let error = error.to_owned();
        Box::pin(async move { self.named(work::retry(&self.writer, claim, due, error).await) })
    }

    fn bury_work(&self, claim: Claim, error: &str, skip_lane: bool) -> BoxFuture<'_, Result<bool, StoreError>> {
        let error = error.to_owned();
        Box::pin(self.end_dead(claim, error, skip_lane))
    }

    fn defer_work(
        &self,
        claim: Claim,
        now: SystemTime,
        due: SystemTime,
        error: &str,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let error = error.to_owned();
        Box::pin(async move { self.named(work::defer(&self.writer, claim, now, due, error).await) })
    }

    fn release(&self, owner: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        let owner = owner.to_owned();
        Box::pin(self.hand_back(owner))
    }

    fn next_outbox_due(&self) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        Box::pin(self.next_event_due())
    }

    fn next_work_due(&self, queues: &[WorkQueue]) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        let queues = rows::queues(queues);
        Box::pin(async move { self.named(work::next_due(&self.pool, queues).await) })
    }

    fn work_by_queue(&self, lease_now: SystemTime) -> BoxFuture<'_, Result<Vec<(WorkQueue, u64)>, StoreError>> {
        Box::pin(async move { self.named(upkeep::by_queue(&self.pool, lease_now).await) })
    }

    fn cancel_timer(&self, name: &str, key: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        let (name, key) = (name.to_owned(), key.to_owned());
        Box::pin(async move { self.named(timer::cancel(&self.writer, name, key).await) })
    }

    fn timers(&self, limit: usize) -> BoxFuture<'_, Result<Vec<TimerRecord>, StoreError>> {
        Box::pin(async move { self.named(timer::list(&self.pool, limit).await) })
    }

    fn dead_letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>> {
        Box::pin(async move { self.named(dead::list(&self.pool, limit).await) })
    }

    fn replay(&self, id: DeadLetterId, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.bring_back(id, now))
    }

    fn discard(&self, id: DeadLetterId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.throw_away(id))
    }

    fn standing(&self, mark: &InboxMark, lane: Option<&str>) -> BoxFuture<'_, Result<Standing, StoreError>> {
        let (mark, lane) = (mark.clone(), lane.map(str::to_owned));
        Box::pin(async move { self.named(inbox::standing(&self.pool, mark, lane).await) })
    }

    fn standings(&self, asked: Vec<(InboxMark, Option<String>)>) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>> {
        Box::pin(async move { self.named(inbox::standings(&self.pool, asked).await) })
    }

    fn counts(&self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        Box::pin(async move { self.named(upkeep::counts(&self.pool, self.busy()).await) })
    }

    fn purge_published(&self, now: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.named(settle::purge(&self.writer, now).await) })
    }

    fn purge_inbox(&self, before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.named(inbox::purge(&self.writer, before).await) })
    }

    fn claim_idempotent(&self, request: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>> {
        Box::pin(self.claim_key(request))
    }

    fn renew_idempotent(
        &self,
        claim: IdempotentClaim,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move { self.named(idempotent::renew(&self.writer, claim, lease_until).await) })
    }

    fn free_idempotent(&self, claim: IdempotentClaim) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move { self.named(idempotent::free(&self.writer, claim).await) })
    }

    fn purge_idempotent(
        &self,
        done_before: SystemTime,
        lease_before: SystemTime,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.named(idempotent::purge(&self.writer, done_before, lease_before).await) })
    }

    fn free_stranded(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let events = self.named(outbox::free_stranded(&self.writer).await)?;
            let pieces = self.named(work::free_stranded(&self.writer).await)?;
            Ok(events + pieces)
        })
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    fn sagas(&self) -> Option<&dyn Sagas> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The pool that was given out stays: a call that is still under way may read with it, and it closes with the
            // last of its clones. A pool of the user's own is his to close.
            if !self.is_lent {
                self.writer.close().await;
            }
        })
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("place", &self.place).finish_non_exhaustive()
    }
}
