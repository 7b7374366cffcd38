//! A store that counts what is done in it, and stops for ever where a test asks it to.

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use cqrs::StoreError;
use cqrs::store::driver::{
    BoxFuture, Carried, ClaimRequest, Driver, Gift, HandleSpec, IdempotentRequest, Transaction, WorkShare,
};
use cqrs::store::{
    Claim, ClaimedOutbox, ClaimedWork, Counts, DeadLetter, DeadLetterId, IdempotentClaim, IdempotentOutcome, InboxMark,
    OutboxOutcome, Record, Standing, StoreErrorKind, TimerRecord, WorkQueue,
};
use tokio::sync::Notify;
use uuid::Uuid;

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// What was done, and where it is to end.
#[derive(Debug, Default)]
pub struct Watch {
    /// The statements of units of work, by name, in order.
    pub steps: Mutex<Vec<&'static str>>,
    /// At this step nothing goes on any more; it is not done. 0: never.
    pub halt_before: AtomicUsize,
    /// The same after it was done, before its answer.
    pub halt_after: AtomicUsize,
    pub halted: Notify,
    /// So many commits happen, and their answers are lost.
    pub lose_answers: AtomicUsize,
    /// So many commits do not happen.
    pub refuse_commits: AtomicUsize,
}

impl Watch {
    pub fn count(&self, what: &str) -> usize {
        self.steps.lock().unwrap().iter().filter(|step| **step == what).count()
    }

    async fn before(&self, what: &'static str) -> usize {
        let number = {
            let mut steps = self.steps.lock().unwrap();
            steps.push(what);
            steps.len()
        };
        self.halt(&self.halt_before, number).await;
        number
    }

    async fn after(&self, number: usize) {
        self.halt(&self.halt_after, number).await;
    }

    async fn halt(&self, at: &AtomicUsize, number: usize) {
        let at = at.load(Ordering::SeqCst);
        if at > 0 && number >= at {
            self.halted.notify_one();
            std::future::pending().await
        }
    }
}

fn taken(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

#[derive(Debug)]
pub struct Watched {
    pub inner: Arc<dyn Driver>,
    pub watch: Arc<Watch>,
}

#[derive(Debug)]
struct WatchedTransaction {
    inner: Box<dyn Transaction>,
    watch: Arc<Watch>,
}

impl Watched {
    fn watched(&self, inner: Box<dyn Transaction>) -> Box<dyn Transaction> {
        Box::new(WatchedTransaction { inner, watch: Arc::clone(&self.watch) })
    }
}

macro_rules! passed_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self $(, $argument: $kind)*) -> Answer<'_, $answer> {
            self.inner.$name($($argument),*)
        }
    )*};
}

impl Driver for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }

    fn handle(&self) -> Option<HandleSpec> {
        self.inner.handle()
    }

    fn gifts(&self) -> Vec<Gift> {
        self.inner.gifts()
    }

    fn begin(&self) -> Answer<'_, Box<dyn Transaction>> {
        Box::pin(async {
            let number = self.watch.before("begin").await;
            let tx = self.watched(self.inner.begin().await?);
            self.watch.after(number).await;
            Ok(tx)
        })
    }

    fn adopt(&self, handle: Box<dyn Any + Send>) -> Result<Box<dyn Transaction>, Box<dyn Any + Send>> {
        Ok(self.watched(self.inner.adopt(handle)?))
    }

    fn claim_work<'a>(&'a self, shares: &[WorkShare<'a>], request: ClaimRequest<'_>) -> Answer<'a, Vec<ClaimedWork>> {
        self.inner.claim_work(shares, request)
    }

    fn standings(&self, asked: Vec<(InboxMark, Option<String>)>) -> Answer<'_, Vec<Standing>> {
        Box::pin(async {
            let number = self.watch.before("standings").await;
            let standings = self.inner.standings(asked).await?;
            self.watch.after(number).await;
            Ok(standings)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }

    passed_on! {
        migrate() -> ();
        release(owner: &str) -> ();
        claim_outbox(request: ClaimRequest<'_>) -> Vec<ClaimedOutbox>;
        settle_outbox(outcomes: Vec<(Claim, OutboxOutcome)>) -> u64;
        renew_outbox(claims: Vec<Claim>, until: SystemTime) -> Vec<Claim>;
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

macro_rules! watched {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {$(
        fn $name<'a>(&'a mut self $(, $argument: $kind)*) -> Answer<'a, $answer> {
            $(let $argument = $argument.to_owned();)*
            Box::pin(async move {
                let number = self.watch.before(stringify!($name)).await;
                let answer = self.inner.$name($($argument),*).await?;
                self.watch.after(number).await;
                Ok(answer)
            })
        }
    )*};
}

impl Transaction for WatchedTransaction {
    fn handle(&mut self) -> Option<&mut (dyn Any + Send)> {
        self.inner.handle()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self.inner.into_any()
    }

    fn carried(&mut self) -> Option<&mut Carried> {
        self.inner.carried()
    }

    fn lane_is_held(&mut self, lane: &str) -> Answer<'_, bool> {
        self.inner.lane_is_held(lane)
    }

    fn start_rollback_to_savepoint(&mut self) -> bool {
        self.inner.start_rollback_to_savepoint()
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            let number = self.watch.before("commit").await;
            if taken(&self.watch.refuse_commits) {
                self.inner.rollback().await?;
                return Err(StoreError::new(StoreErrorKind::Database, "the commit is refused"));
            }
            self.inner.commit().await?;
            self.watch.after(number).await;
            if taken(&self.watch.lose_answers) {
                return Err(StoreError::new(StoreErrorKind::CommitUnknown, "the line went dead"));
            }
            Ok(())
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            self.watch.before("rollback").await;
            self.inner.rollback().await
        })
    }

    watched! {
        store(records: Vec<Record>) -> Vec<Uuid>;
        mark_handled(marks: Vec<InboxMark>) -> Vec<bool>;
        check() -> ();
        finish_work(claim: Claim) -> bool;
        claim_idempotent(request: IdempotentRequest) -> IdempotentOutcome;
        finish_idempotent(claim: IdempotentClaim, response: Vec<u8>, now: SystemTime) -> bool;
        savepoint() -> ();
        release_savepoint() -> ();
        rollback_to_savepoint() -> ();
    }
}
