//! The store on PostgreSQL.
//!
//! `connect` opens the pool; `migrate` brings the schema up to date; `transaction` is the unit of work's, and `fault` says what an
//! answer of the database means; `outbox`, `settle`, `leases`, `work`, `timer`, `inbox`, `idempotent`, `dead` and `upkeep` hold the
//! statements of their tables, `sagas` those of sagas, `operations` with `find` and `operate` those of people who operate a service, and
//! `rows` what they share. `notices` are words to other processes.

mod connect;
mod dead;
mod fault;
mod find;
mod idempotent;
mod inbox;
mod leases;
mod migrate;
mod notices;
mod operate;
mod operations;
mod outbox;
mod rows;
mod sagas;
#[cfg(feature = "testing")]
pub(crate) mod scratch;
mod settle;
#[cfg(test)]
mod tests;
mod timer;
mod transaction;
mod upkeep;
mod work;

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};

pub(crate) use self::fault::judge;
use self::leases::Leases;
use self::transaction::PostgresTransaction;
use super::begin::begin;
use super::claiming::{self, Looking, Request};
use super::desk::Desk;
use super::driver::{self, BoxFuture, ClaimRequest, Driver, Gift, HandleSpec, IdempotentRequest, WorkShare};
use super::names::Names;
use super::{
    Claim, ClaimedOutbox, ClaimedWork, Counts, DeadLetter, DeadLetterId, IdempotentClaim, IdempotentOutcome, InboxMark,
    Operations, OutboxOutcome, Sagas, Standing, StoreError, TimerRecord, WorkQueue,
};
use crate::unit::Tx;

/// What transactions of this store lend to handlers.
pub(crate) const HANDLE: HandleSpec = HandleSpec { type_id: TypeId::of::<Tx<Postgres>>(), name: "sqlx::Postgres" };

/// Whatever the database's default is: the statements here are made for it, and look anew where they waited for somebody.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// The store on a PostgreSQL database.
pub struct PostgresStore {
    /// The pool that is given out, too.
    pool: PgPool,
    /// Whether the pool is the user's.
    is_lent: bool,
    migrator: Option<Migrator>,
    names: Arc<Names>,
    /// Who leases shards: unique for each start of a process.
    me: String,
    /// Held while outbox rows are claimed.
    claiming: tokio::sync::Mutex<Claiming>,
    desk: Mutex<Desk>,
    grown: inbox::Grown,
    leases: Mutex<Leases>,
    /// Where processes tell each other what they have stored, if they are to.
    channel: Option<String>,
}

/// What claims of outbox rows leave for the next one.
#[derive(Debug, Default)]
struct Claiming {
    /// What was seen at the last look.
    snapshot: Option<String>,
    looking: Looking,
}

impl PostgresStore {
    async fn write(&self) -> Result<Tx<Postgres>, StoreError> {
        let connection = self.sound_connection().await?;
        Ok(Tx::new(begin(connection, BEGIN).await?))
    }

    /// A connection in no transaction. Our own pool looks whenever it gives one out.
    async fn sound_connection(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        loop {
            let mut connection = self.pool.acquire().await?;
            if !self.is_lent || connect::is_free(&mut connection).await.unwrap_or(false) {
                return Ok(connection);
            }
            connection.close_on_drop();
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for PostgresStore {
    fn name(&self) -> &'static str {
        "postgres"
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
            Ok(Box::new(PostgresTransaction::new(tx, Arc::clone(&self.names), false)) as Box<dyn driver::Transaction>)
        })
    }

    fn adopt(&self, handle: Box<dyn Any + Send>) -> Result<Box<dyn driver::Transaction>, Box<dyn Any + Send>> {
        let tx = handle.downcast::<Tx<Postgres>>()?;
        Ok(Box::new(PostgresTransaction::new(*tx, Arc::clone(&self.names), true)))
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
        let (wanted, request) = (claiming::Wanted::new(shares, rows::Queues::new), Request::new(&request));
        Box::pin(self.take_work(wanted, request))
    }

    fn renew_work(&self, claims: Vec<Claim>, lease_until: SystemTime) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>> {
        Box::pin(self.hold_work(claims, lease_until))
    }

    fn retry_work(&self, claim: Claim, due: SystemTime, error: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        let error = error.to_owned();
        Box::pin(async move { Ok(work::retry(&self.names, &self.pool, claim, due, error).await?) })
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
        Box::pin(async move { Ok(work::defer(&self.names, &self.pool, claim, now, due, error).await?) })
    }

    fn release(&self, owner: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        let owner = owner.to_owned();
        Box::pin(self.hand_back(owner))
    }

    fn next_outbox_due(&self) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        Box::pin(self.next_event_due())
    }

    fn next_work_due(&self, queues: &[WorkQueue]) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        let queues = rows::Queues::new(queues);
        Box::pin(async move { Ok(work::next_due(&self.names, &self.pool, queues).await?) })
    }

    fn work_by_queue(&self, lease_now: SystemTime) -> BoxFuture<'_, Result<Vec<(WorkQueue, u64)>, StoreError>> {
        Box::pin(async move { Ok(upkeep::by_queue(&self.names, &self.pool, lease_now).await?) })
    }

    fn cancel_timer(&self, name: &str, key: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        let (name, key) = (name.to_owned(), key.to_owned());
        Box::pin(async move { Ok(timer::cancel(&self.names, &self.pool, name, key).await?) })
    }

    fn timers(&self, limit: usize) -> BoxFuture<'_, Result<Vec<TimerRecord>, StoreError>> {
        Box::pin(async move { Ok(timer::list(&self.names, &self.pool, limit).await?) })
    }

    fn dead_letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>> {
        Box::pin(async move { Ok(dead::list(&self.names, &self.pool, limit).await?) })
    }

    fn replay(&self, id: DeadLetterId, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.bring_back(id, now))
    }

    fn discard(&self, id: DeadLetterId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.throw_away(id))
    }

    fn standing(&self, mark: &InboxMark, lane: Option<&str>) -> BoxFuture<'_, Result<Standing, StoreError>> {
        let (mark, lane) = (mark.clone(), lane.map(str::to_owned));
        Box::pin(async move { Ok(inbox::standing(&self.names, &self.grown, &self.pool, mark, lane).await?) })
    }

    fn standings(&self, asked: Vec<(InboxMark, Option<String>)>) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>> {
        Box::pin(async move { Ok(inbox::standings(&self.names, &self.grown, &self.pool, asked).await?) })
    }

    fn counts(&self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        Box::pin(self.count())
    }

    fn purge_published(&self, now: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(settle::purge(&self.names, &self.pool, now).await?) })
    }

    fn purge_inbox(&self, before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(inbox::purge(&self.names, &self.pool, before).await?) })
    }

    fn claim_idempotent(&self, request: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>> {
        Box::pin(self.claim_key(request))
    }

    fn renew_idempotent(
        &self,
        claim: IdempotentClaim,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move { Ok(idempotent::renew(&self.names, &self.pool, claim, lease_until).await?) })
    }

    fn free_idempotent(&self, claim: IdempotentClaim) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move { Ok(idempotent::free(&self.names, &self.pool, claim).await?) })
    }

    fn purge_idempotent(
        &self,
        done_before: SystemTime,
        lease_before: SystemTime,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(idempotent::purge(&self.names, &self.pool, done_before, lease_before).await?) })
    }

    fn free_stranded(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let events = outbox::free_stranded(&self.names, &self.pool).await?;
            let pieces = work::free_stranded(&self.names, &self.pool).await?;
            Ok(events + pieces)
        })
    }

    fn notices(&self) -> Option<Arc<dyn driver::Notices>> {
        let channel = self.channel.clone()?;
        Some(Arc::new(notices::Channel::new(self.pool.clone(), channel)))
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    fn sagas(&self) -> Option<&dyn Sagas> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The pool that was given out closes with the last of its clones: a call that is still under way may read with it. A
            // pool of the user's own is his to close.
            if !self.is_lent {
                self.pool.close().await;
            }
        })
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("names", &self.names).finish_non_exhaustive()
    }
}
