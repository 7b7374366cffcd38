//! A store of another database, as far as a check of the wiring, or an app that stores nothing, gets to know it.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::SystemTime;

use cqrs::store::driver::{
    BoxFuture, ClaimRequest, Driver, Gift, HandleSpec, IdempotentRequest, Transaction, WorkShare,
};
use cqrs::store::{
    Claim, ClaimedOutbox, ClaimedWork, Counts, DeadLetter, DeadLetterId, IdempotentClaim, IdempotentOutcome, InboxMark,
    OutboxOutcome, Standing, StoreError, TimerRecord, WorkQueue,
};
use tokio::sync::Notify;

/// Lends transactions that are no `Tx<Sqlite>`.
#[derive(Debug, Default)]
pub struct Foreign {
    /// Told when the store is closed.
    pub closed: Arc<Notify>,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

macro_rules! never_called {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self $(, $argument: $kind)*) -> Answer<'_, $answer> {
            $(let _ = $argument;)*
            unreachable!("nobody stores anything")
        }
    )*};
}

impl Driver for Foreign {
    fn name(&self) -> &'static str {
        "foreign"
    }

    fn handle(&self) -> Option<HandleSpec> {
        Some(HandleSpec { type_id: TypeId::of::<Self>(), name: "sqlx::Foreign" })
    }

    fn gifts(&self) -> Vec<Gift> {
        Vec::new()
    }

    fn adopt(&self, handle: Box<dyn Any + Send>) -> Result<Box<dyn Transaction>, Box<dyn Any + Send>> {
        Err(handle)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.closed.notify_one() })
    }

    fn migrate(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn release(&self, _owner: &str) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    never_called! {
        begin() -> Box<dyn Transaction>;
        claim_outbox(request: ClaimRequest<'_>) -> Vec<ClaimedOutbox>;
        settle_outbox(outcomes: Vec<(Claim, OutboxOutcome)>) -> u64;
        renew_outbox(claims: Vec<Claim>, until: SystemTime) -> Vec<Claim>;
        claim_work(shares: &[WorkShare<'_>], request: ClaimRequest<'_>) -> Vec<ClaimedWork>;
        renew_work(claims: Vec<Claim>, until: SystemTime) -> Vec<Claim>;
        retry_work(claim: Claim, due: SystemTime, error: &str) -> bool;
        bury_work(claim: Claim, error: &str, skip: bool) -> bool;
        defer_work(claim: Claim, now: SystemTime, due: SystemTime, error: &str) -> bool;
        next_outbox_due() -> Option<SystemTime>;
        next_work_due(queues: &[WorkQueue]) -> Option<SystemTime>;
        work_by_queue(lease_now: SystemTime) -> Vec<(WorkQueue, u64)>;
        standing(mark: &InboxMark, lane: Option<&str>) -> Standing;
        cancel_timer(name: &str, key: &str) -> bool;
        timers(limit: usize) -> Vec<TimerRecord>;
        dead_letters(limit: usize) -> Vec<DeadLetter>;
        replay(id: DeadLetterId, now: SystemTime) -> bool;
        discard(id: DeadLetterId) -> bool;
        counts() -> Counts;
        purge_inbox(before: SystemTime) -> u64;
        claim_idempotent(request: IdempotentRequest) -> IdempotentOutcome;
        renew_idempotent(claim: IdempotentClaim, until: SystemTime) -> bool;
        free_idempotent(claim: IdempotentClaim) -> bool;
        purge_idempotent(done: SystemTime, lease: SystemTime) -> u64;
        free_stranded() -> u64;
    }
}
