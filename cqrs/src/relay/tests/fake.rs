//! A store and a broker of a few lines each, which do what they are told.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::SystemTime;

use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::broker::driver::{Consumer, Outgoing, Subscription};
use crate::broker::{self, BrokerError, BrokerErrorKind};
use crate::store::driver::{BoxFuture, ClaimRequest, Gift, HandleSpec, IdempotentRequest, Transaction, WorkShare};
use crate::store::{
    self, Claim, ClaimedOutbox, ClaimedWork, Counts, DeadLetter, DeadLetterId, IdempotentClaim, IdempotentOutcome,
    InboxMark, OutboxOutcome, OutboxRecord, Standing, StoreError, StoreErrorKind, TimerRecord, WorkQueue,
};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Due(SystemTime),
    Claimed(String, SystemTime),
    Published,
    Dead,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) state: State,
    pub(super) fence: i64,
    pub(super) attempts: u32,
    record: OutboxRecord,
}

/// An outbox in memory, with the claiming rules of a store.
#[derive(Debug, Default)]
pub(crate) struct FakeStore {
    pub(super) rows: Mutex<Vec<Row>>,
    pub(super) claims: AtomicUsize,
    pub(super) queries: AtomicUsize,
    pub(super) settles: AtomicUsize,
    pub(super) renewals: AtomicUsize,
    /// So many calls of `settle_outbox` fail, as busy.
    pub(super) settle_fails: AtomicUsize,
    pub(super) due_now: Mutex<Option<SystemTime>>,
}

impl FakeStore {
    pub(super) fn add(&self, topic: &str, key: Option<&str>, text: &str) {
        let record = OutboxRecord {
            id: Uuid::now_v7(),
            name: "e".into(),
            version: 1,
            topic: topic.into(),
            key: key.map(Into::into),
            payload: text.as_bytes().to_vec(),
            headers: BTreeMap::new(),
            raised_at: SystemTime::UNIX_EPOCH,
        };
        let row = Row { state: State::Due(SystemTime::UNIX_EPOCH), fence: 0, attempts: 0, record };
        self.rows.lock().unwrap().push(row);
    }

    pub(super) fn all_published(&self) -> bool {
        self.rows.lock().unwrap().iter().all(|row| row.state == State::Published)
    }

    pub(super) fn states(&self) -> Vec<State> {
        self.rows.lock().unwrap().iter().map(|row| row.state.clone()).collect()
    }

    fn claim(&self, owner: &str, request: &ClaimRequest<'_>) -> Vec<ClaimedOutbox> {
        let (mut claimed, mut held) = (Vec::new(), HashSet::new());
        for (seq, row) in self.rows.lock().unwrap().iter_mut().enumerate() {
            let lane = row.record.key.clone().map(|key| (row.record.topic.clone(), key));
            let free = match &row.state {
                State::Due(due) => *due <= request.now,
                State::Claimed(_, until) if *until <= request.lease_now => true,
                // The owner keeps the order of what it holds.
                State::Claimed(by, _) if by == owner => continue,
                State::Published => continue,
                State::Claimed(..) | State::Dead => false,
            };
            if !free || claimed.len() >= request.limit || lane.as_ref().is_some_and(|lane| held.contains(lane)) {
                held.extend(lane);
                continue;
            }
            row.fence += 1;
            row.state = State::Claimed(owner.to_owned(), request.lease_until);
            let claim = Claim { seq: i64::try_from(seq).unwrap(), fence: row.fence };
            claimed.push(ClaimedOutbox { claim, attempts: row.attempts, record: row.record.clone() });
        }
        claimed
    }

    /// Runs `change` on each row whose claim still holds; gives those claims.
    fn on_held(&self, claims: &[Claim], mut change: impl FnMut(usize, &mut Row)) -> Vec<Claim> {
        let mut rows = self.rows.lock().unwrap();
        let mut held = Vec::new();
        for (at, claim) in claims.iter().enumerate() {
            let row = &mut rows[usize::try_from(claim.seq).unwrap()];
            if row.fence == claim.fence && matches!(row.state, State::Claimed(..)) {
                change(at, row);
                held.push(*claim);
            }
        }
        held
    }
}

fn done<T: Send + 'static>(value: T) -> BoxFuture<'static, Result<T, StoreError>> {
    Box::pin(std::future::ready(Ok(value)))
}

fn not_here<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
    Box::pin(std::future::ready(Err(StoreError::new(StoreErrorKind::Database, "the fake store cannot do this"))))
}

impl store::driver::Driver for FakeStore {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn claim_outbox(&self, request: ClaimRequest<'_>) -> BoxFuture<'_, Result<Vec<ClaimedOutbox>, StoreError>> {
        self.claims.fetch_add(1, SeqCst);
        self.queries.fetch_add(1, SeqCst);
        done(self.claim(request.owner, &request))
    }

    fn settle_outbox(&self, outcomes: Vec<(Claim, OutboxOutcome)>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.settles.fetch_add(1, SeqCst);
        if self.settle_fails.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            let busy = StoreError::new(StoreErrorKind::Busy, "the store is busy");
            return Box::pin(std::future::ready(Err(busy)));
        }
        let claims: Vec<_> = outcomes.iter().map(|(claim, _)| *claim).collect();
        let held = self.on_held(&claims, |at, row| {
            row.state = match &outcomes[at].1 {
                OutboxOutcome::Published | OutboxOutcome::Kept { .. } => State::Published,
                OutboxOutcome::Retry { due, .. } => State::Due(*due),
                OutboxOutcome::Dead { .. } => State::Dead,
                OutboxOutcome::HandBack => State::Due(SystemTime::UNIX_EPOCH),
            };
            row.attempts += u32::from(outcomes[at].1 != OutboxOutcome::HandBack);
        });
        done(held.len() as u64)
    }

    fn renew_outbox(
        &self,
        claims: Vec<Claim>,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>> {
        self.renewals.fetch_add(1, SeqCst);
        done(self.on_held(&claims, |_, row| {
            if let State::Claimed(_, until) = &mut row.state {
                *until = lease_until;
            }
        }))
    }

    fn release(&self, _: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        not_here()
    }

    fn next_outbox_due(&self) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        self.queries.fetch_add(1, SeqCst);
        done(*self.due_now.lock().unwrap())
    }

    fn handle(&self) -> Option<HandleSpec> {
        None
    }

    fn gifts(&self) -> Vec<Gift> {
        Vec::new()
    }

    fn migrate(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        done(())
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StoreError>> {
        not_here()
    }

    fn adopt(
        &self,
        handle: Box<dyn std::any::Any + Send>,
    ) -> Result<Box<dyn Transaction>, Box<dyn std::any::Any + Send>> {
        Err(handle)
    }

    fn claim_work(
        &self,
        _: &[WorkShare<'_>],
        _: ClaimRequest<'_>,
    ) -> BoxFuture<'_, Result<Vec<ClaimedWork>, StoreError>> {
        not_here()
    }

    fn renew_work(&self, _: Vec<Claim>, _: SystemTime) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>> {
        not_here()
    }

    fn next_work_due(&self, _: &[WorkQueue]) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        not_here()
    }

    fn work_by_queue(&self, _: SystemTime) -> BoxFuture<'_, Result<Vec<(WorkQueue, u64)>, StoreError>> {
        not_here()
    }

    fn standing(&self, _: &InboxMark, _: Option<&str>) -> BoxFuture<'_, Result<Standing, StoreError>> {
        not_here()
    }

    fn defer_work(&self, _: Claim, _: SystemTime, _: SystemTime, _: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        not_here()
    }

    fn retry_work(&self, _: Claim, _: SystemTime, _: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        not_here()
    }

    fn bury_work(&self, _: Claim, _: &str, _: bool) -> BoxFuture<'_, Result<bool, StoreError>> {
        not_here()
    }

    fn claim_idempotent(&self, _: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>> {
        not_here()
    }

    fn renew_idempotent(&self, _: IdempotentClaim, _: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        not_here()
    }

    fn free_idempotent(&self, _: IdempotentClaim) -> BoxFuture<'_, Result<bool, StoreError>> {
        not_here()
    }

    fn purge_idempotent(&self, _: SystemTime, _: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        not_here()
    }

    fn cancel_timer(&self, _: &str, _: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        not_here()
    }

    fn timers(&self, _: usize) -> BoxFuture<'_, Result<Vec<TimerRecord>, StoreError>> {
        not_here()
    }

    fn dead_letters(&self, _: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>> {
        not_here()
    }

    fn replay(&self, _: DeadLetterId, _: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        not_here()
    }

    fn discard(&self, _: DeadLetterId) -> BoxFuture<'_, Result<bool, StoreError>> {
        not_here()
    }

    fn counts(&self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        not_here()
    }

    fn purge_inbox(&self, _: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        not_here()
    }

    fn free_stranded(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        not_here()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What the fake broker does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Take,
    Unavailable,
    Refuse,
    /// Never answers.
    Hang,
    /// Answers as it does when somebody has let one through the gate.
    Gate,
    Panic,
}

type Judge = Box<dyn Fn(&str) -> Mood + Send + Sync>;

/// A broker that decides by the message's text.
pub(super) struct FakeBroker {
    pub(super) taken: Mutex<Vec<String>>,
    pub(super) calls: AtomicUsize,
    pub(super) judge: Mutex<Judge>,
    pub(super) gate: Semaphore,
}

impl FakeBroker {
    pub(super) fn new(judge: impl Fn(&str) -> Mood + Send + Sync + 'static) -> Self {
        let gate = Semaphore::new(0);
        Self { taken: Mutex::default(), calls: AtomicUsize::new(0), judge: Mutex::new(Box::new(judge)), gate }
    }

    pub(super) fn become_(&self, judge: impl Fn(&str) -> Mood + Send + Sync + 'static) {
        *self.judge.lock().unwrap() = Box::new(judge);
    }

    pub(super) fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }

    async fn answer(&self, outgoing: Outgoing) -> Result<(), BrokerError> {
        let text = String::from_utf8(outgoing.delivery.payload().to_vec()).unwrap();
        let mut mood = self.judge.lock().unwrap()(&text);
        if mood == Mood::Gate {
            self.gate.acquire().await.unwrap().forget();
            mood = self.judge.lock().unwrap()(&text);
        }
        match mood {
            Mood::Take => {
                self.taken.lock().unwrap().push(text);
                Ok(())
            }
            Mood::Unavailable => Err(BrokerError::new(BrokerErrorKind::Unavailable, "the broker is away")),
            Mood::Refuse => Err(BrokerError::new(BrokerErrorKind::Refused, "the broker will not have it")),
            Mood::Hang | Mood::Gate => std::future::pending().await,
            Mood::Panic => panic!("the driver is broken"),
        }
    }
}

impl std::fmt::Debug for FakeBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeBroker")
    }
}

impl broker::driver::Driver for FakeBroker {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        self.calls.fetch_add(1, SeqCst);
        Box::pin(async move {
            let mut results: Vec<Result<(), BrokerError>> = Vec::new();
            for outgoing in batch {
                let failed = outgoing.delivery.message_key().is_some() && results.iter().any(Result::is_err);
                let follower = || Err(BrokerError::new(BrokerErrorKind::Unavailable, "an earlier one failed"));
                results.push(if failed { follower() } else { self.answer(outgoing).await });
            }
            results
        })
    }

    fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        Box::pin(std::future::ready(Err(BrokerError::new(BrokerErrorKind::Refused, "nothing to be had here"))))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
