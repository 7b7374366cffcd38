//! What the store promises, on real files.

#[cfg(feature = "testing")]
mod conformance;
mod idempotent;
mod opening;
mod operations;
mod outbox;
mod parked;
mod plans;
mod sagas;
mod unit;
mod upgrade;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sqlx::{AssertSqlSafe, Sqlite, SqlitePool};
use uuid::Uuid;

use super::SqliteStore;
use crate::store::driver::{ClaimRequest, Driver, Transaction, WorkShare};
use crate::store::{Claim, ClaimedOutbox, ClaimedWork, OutboxRecord, Record, Store, WorkKind, WorkQueue, WorkRecord};
use crate::unit::Tx;

/// A bit less than five seconds: what a claim waits for its turn to write counts on top of it.
const LEASE: Duration = Duration::from_millis(4_900);

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("cqrs-sqlite-{}", Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("app.db")
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.file().display())
    }

    fn store(&self) -> Store {
        let mut store = Store::url(self.url());
        store.options.synchronous_off = true;
        store
    }

    async fn open(&self) -> SqliteStore {
        let store = SqliteStore::connect(self.store()).await.unwrap();
        store.migrate().await.unwrap();
        store
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn fresh() -> (Dir, SqliteStore) {
    let dir = Dir::new();
    let store = dir.open().await;
    (dir, store)
}

/// Seconds after an arbitrary moment.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn message(name: &str, key: Option<&str>) -> OutboxRecord {
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

const HANDLER: &str = "mail::send";

fn piece(kind: WorkKind, name: &str, lane: Option<&str>) -> WorkRecord {
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

fn timer(name: &str, key: &str, due: SystemTime) -> WorkRecord {
    WorkRecord { timer_key: Some(key.to_owned()), due_at: due, ..piece(WorkKind::Timer, name, None) }
}

async fn keep(store: &SqliteStore, records: Vec<Record>) {
    let mut tx = store.begin().await.unwrap();
    tx.store(records).await.unwrap();
    tx.commit().await.unwrap();
}

async fn keep_messages(store: &SqliteStore, records: impl IntoIterator<Item = OutboxRecord>) {
    keep(store, records.into_iter().map(Record::Outbox).collect()).await;
}

async fn keep_work(store: &SqliteStore, records: impl IntoIterator<Item = WorkRecord>) {
    keep(store, records.into_iter().map(Record::Work).collect()).await;
}

/// A claim at some second, with a lease of five.
fn request(owner: &str, seconds: u64, limit: usize) -> ClaimRequest<'_> {
    ClaimRequest { owner, now: at(seconds), lease_now: at(seconds), lease_until: at(seconds) + LEASE, limit }
}

async fn claim_messages(store: &SqliteStore, seconds: u64) -> Vec<ClaimedOutbox> {
    store.claim_outbox(request("a", seconds, 100)).await.unwrap()
}

/// The queue that pieces of a kind stand in.
fn queue(kind: WorkKind) -> WorkQueue {
    WorkQueue { kind, group: String::new(), handler: HANDLER.to_owned() }
}

/// Every queue that rows of these tests stand in.
fn everything() -> Vec<WorkQueue> {
    WorkKind::ALL.into_iter().map(queue).chain([WorkQueue::consumed("billing", HANDLER)]).collect()
}

/// When something is due, whatever it is.
async fn next_due(store: &SqliteStore) -> Option<SystemTime> {
    let outbox = store.next_outbox_due().await.unwrap();
    outbox.into_iter().chain(store.next_work_due(&everything()).await.unwrap()).min()
}

/// Claims of some queues, with no other limit than the request's.
async fn claim_of(
    store: &SqliteStore,
    queues: &[WorkQueue],
    request: ClaimRequest<'_>,
) -> Result<Vec<ClaimedWork>, crate::StoreError> {
    let limit = request.limit;
    store.claim_work(&[WorkShare { queues, limit: &move || limit }], request).await
}

async fn claim_work(store: &SqliteStore, seconds: u64) -> Vec<ClaimedWork> {
    claim_of(store, &everything(), request("a", seconds, 100)).await.unwrap()
}

fn message_names(claimed: &[ClaimedOutbox]) -> Vec<&str> {
    claimed.iter().map(|row| row.record.name.as_str()).collect()
}

fn work_names(claimed: &[ClaimedWork]) -> Vec<&str> {
    claimed.iter().map(|work| work.record.name.as_str()).collect()
}

async fn finish(store: &SqliteStore, claim: Claim) -> bool {
    let mut tx = store.begin().await.unwrap();
    let held = tx.finish_work(claim).await.unwrap();
    if held {
        tx.commit().await.unwrap();
    }
    held
}

fn handle(tx: &mut Box<dyn Transaction>) -> &mut Tx<Sqlite> {
    tx.handle().unwrap().downcast_mut().unwrap()
}

async fn run(tx: &mut Box<dyn Transaction>, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(&mut **handle(tx)).await.map(|_| ())
}

async fn number(pool: &SqlitePool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await.unwrap()
}
