//! The store in memory.
//!
//! `state` is everything it holds and every change of it, with `table` for rows in lanes and `keys` for idempotency keys;
//! `transaction` is the unit of work's, `operations` what people who operate a service do. This file is the way in.

mod keys;
mod operations;
mod sagas;
mod state;
mod table;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod transaction;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::OwnedMutexGuard;

use self::state::{Locked, State};
use self::transaction::MemoryTransaction;
use super::driver::{BoxFuture, ClaimRequest, Driver, Gift, HandleSpec, IdempotentRequest, Transaction, WorkShare};
use super::{
    Claim, ClaimedOutbox, ClaimedWork, Counts, DeadLetter, DeadLetterId, IdempotentClaim, IdempotentOutcome, InboxMark,
    Operations, OutboxOutcome, Sagas, Standing, StoreError, StoreErrorKind, TimerRecord, WorkQueue,
};

/// How long anybody waits for a transaction of somebody else's.
const TURN: Duration = Duration::from_secs(5);

/// A store in memory, for tests and for what may be lost: **everything in it ends with the process**.
///
/// It keeps the promises of every store but that one: the outbox, stored work, timers, the inbox, dead letters and
/// idempotency keys work as they do elsewhere, so durable handlers run, retry and keep their order. A crash or a restart
/// loses what was not done yet, events that were to be published among it. There is no `Tx<Db>`: a handler that asks for
/// one is a wiring error.
///
/// ```standalone_crate
/// use cqrs::prelude::*;
/// use cqrs::sqlx::Sqlite;
/// use cqrs::Store;
///
/// #[derive(Command)]
/// struct Pay;
///
/// #[command_handler]
/// async fn pay(_cmd: Pay, _tx: &mut Tx<Sqlite>) {}
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let refused = cqrs::bootstrap!().store(Store::url("memory:")).await.unwrap_err();
/// assert!(refused.to_string().contains("but the app's store gives none"));
/// # }
/// ```
///
/// One transaction is open at a time. The next one waits for it, for at most five seconds.
///
/// [`Store::url`](crate::Store::url)`("memory:")` makes one of an app's own. Clones hold the same, so that several apps of a
/// process can share one.
///
/// ```
/// use cqrs::Store;
/// use cqrs::store::MemoryStore;
///
/// let shared = MemoryStore::new();
/// let (one, another) = (Store::driver(shared.clone()), Store::driver(shared));
/// assert_eq!((one.scheme(), another.scheme()), ("memory", "memory"));
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

/// What the clones of a store share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Whose transaction it is.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Shared {
    /// Never held over an await. Nothing that holds it panics halfway through a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn turn(&self) -> Result<OwnedMutexGuard<()>, StoreError> {
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turn).lock_owned()).await;
        turn.map_err(|_| {
            let what = format!("another transaction of the memory store was open for more than {TURN:?}: try again");
            StoreError::new(StoreErrorKind::Busy, what)
        })
    }

    /// Does something when no transaction has taken what it is about.
    async fn unlocked<T>(&self, mut ask: impl FnMut(&mut State) -> Result<T, Locked>) -> Result<T, StoreError> {
        if let Ok(answer) = ask(&mut self.state()) {
            return Ok(answer);
        }
        loop {
            let _turn = self.turn().await?;
            if let Ok(answer) = ask(&mut self.state()) {
                return Ok(answer);
            }
        }
    }
}

impl MemoryStore {
    /// A store with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, of an app that has named it by URL, and is told once what that means.
    pub(crate) fn of_an_app() -> Self {
        tracing::warn!("the store is in memory: what is stored and not done yet is lost with the process");
        Self::new()
    }

    fn ask<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnOnce(&mut State) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move { Ok(ask(&mut self.shared.state())) })
    }

    fn ask_unlocked<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnMut(&mut State) -> Result<T, Locked> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(self.shared.unlocked(ask))
    }
}

/// A claim request, and who makes it, apart.
fn owned(request: &ClaimRequest<'_>) -> (String, ClaimRequest<'static>) {
    let &ClaimRequest { owner, now, lease_now, lease_until, limit } = request;
    (owner.to_owned(), ClaimRequest { owner: "", now, lease_now, lease_until, limit })
}

impl Driver for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn handle(&self) -> Option<HandleSpec> {
        None
    }

    fn gifts(&self) -> Vec<Gift> {
        Vec::new()
    }

    fn migrate(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StoreError>> {
        Box::pin(async move {
            let turn = self.shared.turn().await?;
            Ok(Box::new(MemoryTransaction::new(Arc::clone(&self.shared), turn)) as Box<dyn Transaction>)
        })
    }

    fn adopt(&self, handle: Box<dyn Any + Send>) -> Result<Box<dyn Transaction>, Box<dyn Any + Send>> {
        Ok(handle.downcast::<MemoryTransaction>()?)
    }

    fn claim_outbox(&self, request: ClaimRequest<'_>) -> BoxFuture<'_, Result<Vec<ClaimedOutbox>, StoreError>> {
        let (owner, request) = owned(&request);
        self.ask(move |state| state.claim_outbox(&ClaimRequest { owner: &owner, ..request }))
    }

    fn settle_outbox(&self, outcomes: Vec<(Claim, OutboxOutcome)>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.ask(move |state| state.settle_outbox(outcomes))
    }

    fn renew_outbox(
        &self,
        claims: Vec<Claim>,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>> {
        self.ask(move |state| state.renew_outbox(claims, lease_until))
    }

    fn claim_work<'a>(
        &'a self,
        shares: &[WorkShare<'a>],
        request: ClaimRequest<'_>,
    ) -> BoxFuture<'a, Result<Vec<ClaimedWork>, StoreError>> {
        let (shares, (owner, request)) = (shares.to_vec(), owned(&request));
        self.ask(move |state| state.claim_work(&shares, &ClaimRequest { owner: &owner, ..request }))
    }

    fn renew_work(&self, claims: Vec<Claim>, lease_until: SystemTime) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>> {
        self.ask_unlocked(move |state| state.renew_work(claims.clone(), lease_until))
    }

    fn retry_work(&self, claim: Claim, due: SystemTime, error: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        let error = error.to_owned();
        self.ask_unlocked(move |state| state.retry_work(claim, due, &error))
    }

    fn bury_work(&self, claim: Claim, error: &str, skip_lane: bool) -> BoxFuture<'_, Result<bool, StoreError>> {
        let error = error.to_owned();
        self.ask_unlocked(move |state| state.bury_work(claim, &error, skip_lane))
    }

    fn defer_work(
        &self,
        claim: Claim,
        now: SystemTime,
        due: SystemTime,
        error: &str,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let error = error.to_owned();
        self.ask_unlocked(move |state| state.defer_work(claim, now, due, &error))
    }

    fn release(&self, owner: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        let owner = owner.to_owned();
        self.ask_unlocked(move |state| state.release(&owner))
    }

    fn next_outbox_due(&self) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        self.ask(|state| state.next_outbox_due())
    }

    fn next_work_due(&self, queues: &[WorkQueue]) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        let queues = queues.to_vec();
        self.ask(move |state| state.next_work_due(&queues))
    }

    fn work_by_queue(&self, lease_now: SystemTime) -> BoxFuture<'_, Result<Vec<(WorkQueue, u64)>, StoreError>> {
        self.ask(move |state| state.work_by_queue(lease_now))
    }

    fn cancel_timer(&self, name: &str, key: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        let name = (name.to_owned(), key.to_owned());
        self.ask_unlocked(move |state| state.cancel_timer(&name))
    }

    fn timers(&self, limit: usize) -> BoxFuture<'_, Result<Vec<TimerRecord>, StoreError>> {
        self.ask(move |state| state.timers(limit))
    }

    fn dead_letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>> {
        self.ask(move |state| state.dead_letters(limit))
    }

    fn replay(&self, id: DeadLetterId, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.ask(move |state| state.replay(id, now))
    }

    fn discard(&self, id: DeadLetterId) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.ask(move |state| state.discard(id))
    }

    fn standing(&self, mark: &InboxMark, lane: Option<&str>) -> BoxFuture<'_, Result<Standing, StoreError>> {
        let (mark, lane) = (mark.clone(), lane.map(str::to_owned));
        self.ask(move |state| state.standing(&mark, lane.as_deref()))
    }

    fn counts(&self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        self.ask(|state| state.counts())
    }

    fn purge_published(&self, now: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.ask(move |state| state.purge_published(now))
    }

    fn purge_inbox(&self, before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.ask(move |state| state.purge_inbox(before))
    }

    fn claim_idempotent(&self, request: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>> {
        Box::pin(async move {
            if let Ok(outcome) = self.shared.state().claim_key(&request) {
                return Ok(outcome);
            }
            let asked = Instant::now();
            let claim = |state: &mut State| {
                let lease_until = request.lease_until + asked.elapsed();
                state.claim_key(&IdempotentRequest { lease_until, ..request.clone() })
            };
            self.shared.unlocked(claim).await
        })
    }

    fn renew_idempotent(
        &self,
        claim: IdempotentClaim,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.ask_unlocked(move |state| state.renew_key(&claim, lease_until))
    }

    fn free_idempotent(&self, claim: IdempotentClaim) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.ask_unlocked(move |state| state.free_key(&claim))
    }

    fn purge_idempotent(
        &self,
        done_before: SystemTime,
        lease_before: SystemTime,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.ask(move |state| state.purge_keys(done_before, lease_before))
    }

    /// Nobody deletes rows by hand.
    fn free_stranded(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    fn sagas(&self) -> Option<&dyn Sagas> {
        Some(self)
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
