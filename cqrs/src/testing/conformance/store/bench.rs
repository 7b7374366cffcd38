//! What the cases work with: a store, records to put in it, and instances that take turns.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::StoreFixture;
use crate::store::driver::{ClaimRequest, Driver, WorkShare};
use crate::store::{
    Claim, ClaimedOutbox, ClaimedWork, InboxMark, OutboxOutcome, OutboxRecord, Record, StoreError, WorkKind, WorkQueue,
    WorkRecord,
};

/// A bit less than five seconds: what a claim waits for its turn to write may count on top of it.
pub(super) const LEASE: Duration = Duration::from_millis(4_900);

/// The lease of whoever is to keep what it was given, however slow the machine is.
pub(super) const LONG_LEASE: Duration = Duration::from_mins(10);

/// So long until a call that waits for another one is sure to wait; where it does not, it has ended by then.
pub(super) const SOON: Duration = Duration::from_millis(200);

/// A store with nothing in it, and the way to connect to it again.
#[derive(Clone)]
pub(super) struct Bench {
    store: Arc<dyn Driver>,
    fixture: Arc<dyn StoreFixture>,
}

impl Bench {
    pub(super) async fn open(fixture: Arc<dyn StoreFixture>) -> Self {
        let store = fixture.store().await.unwrap_or_else(|error| panic!("the fixture names no store: {error}"));
        let store = store.connect().await.unwrap_or_else(|error| panic!("the store cannot be connected to: {error:?}"));
        store.migrate().await.unwrap_or_else(|error| panic!("the store cannot be migrated: {error:?}"));
        Self { store, fixture }
    }

    /// The same store, as another process has it.
    pub(super) async fn another(&self) -> Self {
        Self::open(Arc::clone(&self.fixture)).await
    }
}

impl Deref for Bench {
    type Target = dyn Driver;

    fn deref(&self) -> &(dyn Driver + 'static) {
        &*self.store
    }
}

/// Seconds after an arbitrary moment.
pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

pub(super) fn message(name: &str, key: Option<&str>) -> OutboxRecord {
    OutboxRecord {
        id: Uuid::now_v7(),
        name: name.to_owned(),
        version: 1,
        topic: "orders".to_owned(),
        key: key.map(str::to_owned),
        payload: vec![0, 1, 254, 255],
        headers: BTreeMap::from([("traceparent".to_owned(), "00-ä\"-01".to_owned())]),
        raised_at: at(0),
    }
}

pub(super) const HANDLER: &str = "mail::send";

pub(super) fn piece(kind: WorkKind, name: &str, lane: Option<&str>) -> WorkRecord {
    WorkRecord {
        id: Uuid::now_v7(),
        kind,
        handler: HANDLER.to_owned(),
        group: String::new(),
        name: name.to_owned(),
        version: 3,
        topic: String::new(),
        key: lane.map(str::to_owned),
        lane: lane.map(str::to_owned),
        timer_key: None,
        payload: vec![1, 2, 3],
        headers: BTreeMap::new(),
        created_at: at(0),
        due_at: at(0),
        attempts: 0,
        error: None,
        dead: false,
    }
}

pub(super) fn timer(name: &str, key: &str, due: SystemTime) -> WorkRecord {
    WorkRecord { timer_key: Some(key.to_owned()), due_at: due, ..piece(WorkKind::Timer, name, None) }
}

pub(super) fn mark(handler: &str, event_id: Uuid) -> InboxMark {
    InboxMark { group: "billing".to_owned(), handler: handler.to_owned(), event_id, at: at(1) }
}

pub(super) async fn keep(store: &dyn Driver, records: Vec<Record>) {
    let mut tx = store.begin().await.unwrap();
    tx.store(records).await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) async fn keep_messages(store: &dyn Driver, records: impl IntoIterator<Item = OutboxRecord>) {
    keep(store, records.into_iter().map(Record::Outbox).collect()).await;
}

pub(super) async fn keep_work(store: &dyn Driver, records: impl IntoIterator<Item = WorkRecord>) {
    keep(store, records.into_iter().map(Record::Work).collect()).await;
}

/// A claim at some second, with a lease of five.
pub(super) fn request(owner: &str, seconds: u64, limit: usize) -> ClaimRequest<'_> {
    ClaimRequest { owner, now: at(seconds), lease_now: at(seconds), lease_until: at(seconds) + LEASE, limit }
}

pub(super) async fn claim_messages(store: &dyn Driver, seconds: u64) -> Vec<ClaimedOutbox> {
    store.claim_outbox(request("a", seconds, 100)).await.unwrap()
}

/// The queue that pieces of a kind stand in.
pub(super) fn queue(kind: WorkKind) -> WorkQueue {
    WorkQueue { kind, group: String::new(), handler: HANDLER.to_owned() }
}

/// Every queue that rows of these cases stand in.
pub(super) fn everything() -> Vec<WorkQueue> {
    WorkKind::ALL.into_iter().map(queue).chain([WorkQueue::consumed("billing", HANDLER)]).collect()
}

/// When something is due, whatever it is.
pub(super) async fn next_due(store: &dyn Driver) -> Option<SystemTime> {
    let outbox = store.next_outbox_due().await.unwrap();
    outbox.into_iter().chain(store.next_work_due(&everything()).await.unwrap()).min()
}

/// Claims of some queues, with no other limit than the request's.
pub(super) async fn claim_of(
    store: &dyn Driver,
    queues: &[WorkQueue],
    request: ClaimRequest<'_>,
) -> Result<Vec<ClaimedWork>, StoreError> {
    let limit = request.limit;
    store.claim_work(&[WorkShare { queues, limit: &move || limit }], request).await
}

pub(super) async fn claim_work(store: &dyn Driver, seconds: u64) -> Vec<ClaimedWork> {
    claim_of(store, &everything(), request("a", seconds, 100)).await.unwrap()
}

pub(super) fn message_names(claimed: &[ClaimedOutbox]) -> Vec<&str> {
    claimed.iter().map(|row| row.record.name.as_str()).collect()
}

pub(super) fn work_names(claimed: &[ClaimedWork]) -> Vec<&str> {
    claimed.iter().map(|work| work.record.name.as_str()).collect()
}

/// Ends work, and commits where its claim still holds.
pub(super) async fn finish(store: &dyn Driver, claim: Claim) -> bool {
    let mut tx = store.begin().await.unwrap();
    let held = tx.finish_work(claim).await.unwrap();
    if held {
        tx.commit().await.unwrap();
    }
    held
}

pub(super) async fn settle(store: &dyn Driver, claim: Claim, outcome: OutboxOutcome) -> u64 {
    store.settle_outbox(vec![(claim, outcome)]).await.unwrap()
}

/// A row that somebody was given, of the outbox or of the stored work.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) claim: Claim,
    pub(super) name: String,
    pub(super) attempts: u32,
}

/// What instances are to be given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Table {
    Outbox,
    Work,
}

/// Instances that look for rows in turns, a second apart, and renew what they hold.
pub(super) struct Turns<'a> {
    store: &'a dyn Driver,
    table: Table,
    /// What second it is.
    pub(super) now: u64,
    /// What is held, and renewed before every look.
    pub(super) held: Vec<Given>,
}

impl<'a> Turns<'a> {
    /// For how many rounds a store may take to share its rows out among those who ask.
    const ROUNDS: usize = 40;

    pub(super) fn new(store: &'a dyn Driver, table: Table, now: u64) -> Self {
        Self { store, table, now, held: Vec::new() }
    }

    /// A second later an instance looks once.
    pub(super) async fn look(&mut self, owner: &str, limit: usize) -> Vec<Given> {
        self.now += 1;
        self.renew().await;
        let request = request(owner, self.now, limit);
        let given: Vec<Given> = match self.table {
            Table::Outbox => {
                let rows = self.store.claim_outbox(request).await.unwrap().into_iter();
                rows.map(|row| Given { claim: row.claim, name: row.record.name, attempts: row.attempts }).collect()
            }
            Table::Work => {
                let rows = claim_of(self.store, &everything(), request).await.unwrap().into_iter();
                rows.map(|row| Given { claim: row.claim, name: row.record.name, attempts: row.record.attempts })
                    .collect()
            }
        };
        for row in &given {
            let twice = self.held.iter().any(|held| held.claim.seq == row.claim.seq);
            assert!(!twice, "`{}` was given to `{owner}` while somebody held it", row.name);
        }
        self.held.extend(given.iter().cloned());
        given
    }

    async fn renew(&mut self) {
        let (claims, until) = (self.held.iter().map(|held| held.claim).collect::<Vec<_>>(), at(self.now) + LEASE);
        let held = match self.table {
            Table::Outbox => self.store.renew_outbox(claims.clone(), until).await.unwrap(),
            Table::Work => self.store.renew_work(claims.clone(), until).await.unwrap(),
        };
        assert_eq!(held.len(), claims.len(), "a claim that is renewed every second is lost: {:?}", self.held);
    }

    /// What they are given together, until it is so much, in the order in which it was given; and no more than that.
    pub(super) async fn gather(&mut self, owners: &[&str], wanted: usize) -> Vec<Given> {
        let mut gathered = Vec::new();
        let mut more = 2;
        for _ in 0..Self::ROUNDS {
            for owner in owners {
                gathered.extend(self.look(owner, 100).await);
            }
            if gathered.len() >= wanted {
                more -= 1;
            }
            if more == 0 {
                return gathered;
            }
        }
        panic!("of {wanted} rows that are due, {owners:?} were given in {} rounds: {gathered:?}", Self::ROUNDS);
    }

    /// Publishes or finishes what is held under this name.
    pub(super) async fn end(&mut self, name: &str) {
        let at = self.held.iter().position(|held| held.name == name);
        let Some(at) = at else { panic!("nobody holds `{name}`") };
        let claim = self.held.remove(at).claim;
        match self.table {
            Table::Outbox => assert_eq!(settle(self.store, claim, OutboxOutcome::Published).await, 1, "`{name}`"),
            Table::Work => assert!(finish(self.store, claim).await, "`{name}`"),
        }
    }
}

pub(super) fn names(given: &[Given]) -> Vec<&str> {
    given.iter().map(|row| row.name.as_str()).collect()
}

/// The same, where it does not matter who came first.
pub(super) fn sorted(given: &[Given]) -> Vec<&str> {
    let mut names = names(given);
    names.sort_unstable();
    names
}

/// Numbers of which every `lanes`th is of one lane, in the order in which they were done.
pub(super) fn assert_in_order(done: &[u32], lanes: u32) {
    for (at, n) in done.iter().enumerate() {
        let overtaken = done[..at].iter().find(|earlier| **earlier > *n && **earlier % lanes == *n % lanes);
        assert_eq!(overtaken, None, "it came before {n}, which is earlier and of its lane");
    }
}
