//! The store on MySQL and MariaDB.
//!
//! `connect` opens the pool and `fault` names the server in errors; `migrate` brings the schema up to date; `transaction` is
//! the unit of work's; `outbox`, `settle`, `work`, `timer`, `inbox`, `idempotent`, `dead` and `upkeep` hold the statements of their
//! tables, `sagas` those of sagas, `operations` with `find` and `operate` those of people who operate a service, and `rows` what they
//! share. `claim` hands out stored work, `leases` shares out the outbox.

mod claim;
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
mod page;
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
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::{MySql, MySqlPool, Transaction};
use uuid::Uuid;

use self::fault::Place;
pub(in crate::store) use self::fault::kind_of;
use self::transaction::MySqlTransaction;
use super::begin::begin;
use super::claiming::{self, Request};
use super::desk::Desk;
use super::driver::{self, BoxFuture, ClaimRequest, Driver, Gift, HandleSpec, IdempotentRequest, WorkShare};
use super::names::Names;
use super::{
    Claim, ClaimedOutbox, ClaimedWork, Counts, DeadLetter, DeadLetterId, IdempotentClaim, IdempotentOutcome, InboxMark,
    Operations, OutboxOutcome, Sagas, Standing, StoreError, TimerRecord, WorkQueue,
};
use crate::unit::Tx;

/// What transactions of this store lend to handlers.
pub(crate) const HANDLE: HandleSpec = HandleSpec { type_id: TypeId::of::<Tx<MySql>>(), name: "sqlx::MySql" };

/// Begins a transaction of the store's own: as a unit of work's, without what tells whether it is still there.
const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION";

/// The store on a MySQL or MariaDB server.
pub struct MySqlStore {
    pool: MySqlPool,
    /// Whether the pool is the user's.
    is_lent: bool,
    /// Which of the two servers it is: of statements that both know there are enough for everything, but MariaDB knows quicker ones.
    is_mariadb: bool,
    names: Arc<Names>,
    migrator: Option<Migrator>,
    place: Place,
    /// This process, to whom shards of the outbox belong.
    me: String,
    /// What it has in mind of them.
    desk: Mutex<Desk>,
    /// Held by whoever reads the outbox.
    reading: tokio::sync::Mutex<outbox::LookBack>,
    /// When shards were last looked after, by the clock of leases.
    tended: AtomicI64,
}

impl MySqlStore {
    fn new(pool: MySqlPool, is_lent: bool, names: Names, migrator: Option<Migrator>, place: Place) -> Self {
        Self {
            pool,
            is_lent,
            is_mariadb: false,
            names: Arc::new(names),
            migrator,
            place,
            me: Uuid::now_v7().to_string(),
            desk: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            tended: AtomicI64::new(i64::MIN),
        }
    }

    /// Begins a transaction of the store's own.
    async fn write(&self) -> Result<Transaction<'static, MySql>, StoreError> {
        self.named(self.transaction().await)
    }

    async fn transaction(&self) -> Result<Transaction<'static, MySql>, sqlx::Error> {
        begin(self.sound_connection().await?, BEGIN).await
    }

    /// A connection in no transaction. sqlx believes it to be in one for ever where a future was dropped just while it ended a savepoint;
    /// closing rolls back what may be open. Our own pool has looked when it came back.
    async fn sound_connection(&self) -> Result<PoolConnection<MySql>, sqlx::Error> {
        loop {
            let mut connection = self.pool.acquire().await?;
            let is_sound = transaction::depth(&connection) == 0
                && (!self.is_lent || connect::is_in_step(&mut connection, connect::UNDO).await.unwrap_or(false));
            if is_sound {
                return Ok(connection);
            }
            connection.close_on_drop();
        }
    }

    /// Names the server in an error.
    fn named<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        result.map_err(|error| self.place.explain(error))
    }
}

impl Driver for MySqlStore {
    fn name(&self) -> &'static str {
        "mysql"
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
            let connection = self.named(self.sound_connection().await)?;
            let begun = begin(connection, transaction::BEGIN).await;
            let tx = Tx::new(self.named(begun)?);
            Ok(Box::new(MySqlTransaction::begun(tx, self)) as Box<dyn driver::Transaction>)
        })
    }

    fn adopt(&self, handle: Box<dyn Any + Send>) -> Result<Box<dyn driver::Transaction>, Box<dyn Any + Send>> {
        let tx = handle.downcast::<Tx<MySql>>()?;
        Ok(Box::new(MySqlTransaction::adopted(*tx, self)))
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
        Box::pin(self.hold_outbox(claims, lease_until))
    }

    fn claim_work<'a>(
        &'a self,
        shares: &[WorkShare<'a>],
        request: ClaimRequest<'_>,
    ) -> BoxFuture<'a, Result<Vec<ClaimedWork>, StoreError>> {
        let (wanted, request) = (claiming::Wanted::new(shares, claim::digests), Request::new(&request));
        Box::pin(self.take_work(wanted, request))
    }

    fn renew_work(&self, claims: Vec<Claim>, lease_until: SystemTime) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>> {
        Box::pin(self.hold_work(claims, lease_until))
    }

    fn retry_work(&self, claim: Claim, due: SystemTime, error: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.retry(claim, due, error.to_owned()))
    }

    fn bury_work(&self, claim: Claim, error: &str, skip_lane: bool) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.end_dead(claim, error.to_owned(), skip_lane))
    }

    fn defer_work(
        &self,
        claim: Claim,
        now: SystemTime,
        due: SystemTime,
        error: &str,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.defer(claim, now, due, error.to_owned()))
    }

    fn release(&self, owner: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.hand_back(owner.to_owned()))
    }

    fn next_outbox_due(&self) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        Box::pin(self.next_event())
    }

    fn next_work_due(&self, queues: &[WorkQueue]) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        Box::pin(self.next_work(claim::digests(queues)))
    }

    fn work_by_queue(&self, lease_now: SystemTime) -> BoxFuture<'_, Result<Vec<(WorkQueue, u64)>, StoreError>> {
        Box::pin(self.by_queue(lease_now))
    }

    fn cancel_timer(&self, name: &str, key: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.cancel(name.to_owned(), key.to_owned()))
    }

    fn timers(&self, limit: usize) -> BoxFuture<'_, Result<Vec<TimerRecord>, StoreError>> {
        Box::pin(self.list_timers(limit))
    }

    fn dead_letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>> {
        Box::pin(self.list_dead(limit))
    }

    fn replay(&self, id: DeadLetterId, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.bring_back(id, now))
    }

    fn discard(&self, id: DeadLetterId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.throw_away(id))
    }

    fn standing(&self, mark: &InboxMark, lane: Option<&str>) -> BoxFuture<'_, Result<Standing, StoreError>> {
        let (mark, lane) = (mark.clone(), lane.map(str::to_owned));
        Box::pin(async move { self.named(inbox::standing(&self.pool, &self.names, mark, lane).await) })
    }

    fn standings(&self, asked: Vec<(InboxMark, Option<String>)>) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>> {
        Box::pin(async move { self.named(inbox::standings(&self.pool, &self.names, asked).await) })
    }

    fn counts(&self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        Box::pin(self.count())
    }

    fn purge_published(&self, now: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.purge_kept(now))
    }

    fn purge_inbox(&self, before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.purge_marks(before))
    }

    fn claim_idempotent(&self, request: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>> {
        Box::pin(self.claim_key(request))
    }

    fn renew_idempotent(
        &self,
        claim: IdempotentClaim,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.renew_key(claim, lease_until))
    }

    fn free_idempotent(&self, claim: IdempotentClaim) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.free_key(claim))
    }

    fn purge_idempotent(
        &self,
        done_before: SystemTime,
        lease_before: SystemTime,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.purge_keys(done_before, lease_before))
    }

    fn free_stranded(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(self.free_stranded_events().await? + self.free_stranded_work().await?) })
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    fn sagas(&self) -> Option<&dyn Sagas> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // A pool of the user's own is his to close.
            if !self.is_lent {
                self.pool.close().await;
            }
        })
    }
}

impl fmt::Debug for MySqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlStore").field("place", &self.place).finish_non_exhaustive()
    }
}
