//! What the store promises, on a real server.

mod conformance;

use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, SystemTime};

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, MySql, MySqlConnection, MySqlPool};
use uuid::Uuid;

use super::MySqlStore;
use crate::store::driver::{ClaimRequest, Driver, Transaction, WorkShare};
use crate::store::{Claim, ClaimedOutbox, ClaimedWork, OutboxRecord, Record, Store, WorkKind, WorkQueue, WorkRecord};
use crate::unit::Tx;

const LEASE: Duration = Duration::from_millis(4_900);

/// A database that goes with the test.
struct Place {
    url: String,
    name: String,
}

fn server() -> MySqlConnectOptions {
    let url = env::var("CQRS_TEST_MYSQL_URL").expect(
        "CQRS_TEST_MYSQL_URL says which MySQL or MariaDB server to test with, `mysql://user:password@host:3306`: \
         start one by `tests/services up`, and say `eval \"$(tests/services env)\"`",
    );
    url.parse().unwrap()
}

/// A connection to the server, to look on.
async fn onlooker() -> MySqlConnection {
    server().connect().await.unwrap()
}

/// The connections to a database.
async fn threads(connection: &mut MySqlConnection, database: &str) -> Vec<i64> {
    let sql = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = ?";
    sqlx::query_scalar(sql).bind(database).fetch_all(connection).await.unwrap_or_default()
}

impl Place {
    async fn new() -> Self {
        let name = format!("cqrs_test_{}", Uuid::new_v4().simple());
        onlooker().await.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        let options = server().database(&name);
        Self { url: options.to_url_lossy().to_string(), name }
    }

    fn store(&self) -> Store {
        Store::url(self.url.as_str())
    }

    async fn open(&self) -> MySqlStore {
        let store = MySqlStore::connect(self.store()).await.unwrap();
        store.migrate().await.unwrap();
        store
    }
}

/// Drops the database on a thread of its own: a destructor cannot wait.
impl Drop for Place {
    fn drop(&mut self) {
        let name = self.name.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok(mut connection) = server().connect().await else { return };
                // What the test has dropped is rolled back by its runtime, which waits here: its locks would stay.
                for thread in threads(&mut connection, &name).await {
                    let _ = connection.execute(AssertSqlSafe(format!("KILL {thread}"))).await;
                }
                let _ = connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"))).await;
            });
        });
        let _ = dropping.join();
    }
}

async fn fresh() -> (Place, MySqlStore) {
    let dir = Place::new().await;
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

async fn keep(store: &MySqlStore, records: Vec<Record>) {
    let mut tx = store.begin().await.unwrap();
    tx.store(records).await.unwrap();
    tx.commit().await.unwrap();
}

async fn keep_messages(store: &MySqlStore, records: impl IntoIterator<Item = OutboxRecord>) {
    keep(store, records.into_iter().map(Record::Outbox).collect()).await;
}

async fn keep_work(store: &MySqlStore, records: impl IntoIterator<Item = WorkRecord>) {
    keep(store, records.into_iter().map(Record::Work).collect()).await;
}

/// A claim at some second, with a lease of five.
fn request(owner: &str, seconds: u64, limit: usize) -> ClaimRequest<'_> {
    ClaimRequest { owner, now: at(seconds), lease_now: at(seconds), lease_until: at(seconds) + LEASE, limit }
}

async fn claim_messages(store: &MySqlStore, seconds: u64) -> Vec<ClaimedOutbox> {
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
async fn next_due(store: &MySqlStore) -> Option<SystemTime> {
    let outbox = store.next_outbox_due().await.unwrap();
    outbox.into_iter().chain(store.next_work_due(&everything()).await.unwrap()).min()
}

/// Claims of some queues, with no other limit than the request's.
async fn claim_of(
    store: &MySqlStore,
    queues: &[WorkQueue],
    request: ClaimRequest<'_>,
) -> Result<Vec<ClaimedWork>, crate::StoreError> {
    let limit = request.limit;
    store.claim_work(&[WorkShare { queues, limit: &move || limit }], request).await
}

async fn claim_work(store: &MySqlStore, seconds: u64) -> Vec<ClaimedWork> {
    claim_of(store, &everything(), request("a", seconds, 100)).await.unwrap()
}

fn message_names(claimed: &[ClaimedOutbox]) -> Vec<&str> {
    claimed.iter().map(|row| row.record.name.as_str()).collect()
}

fn work_names(claimed: &[ClaimedWork]) -> Vec<&str> {
    claimed.iter().map(|work| work.record.name.as_str()).collect()
}

async fn finish(store: &MySqlStore, claim: Claim) -> bool {
    let mut tx = store.begin().await.unwrap();
    let held = tx.finish_work(claim).await.unwrap();
    if held {
        tx.commit().await.unwrap();
    }
    held
}

fn handle(tx: &mut Box<dyn Transaction>) -> &mut Tx<MySql> {
    tx.handle().unwrap().downcast_mut().unwrap()
}

async fn run(tx: &mut Box<dyn Transaction>, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(&mut **handle(tx)).await.map(|_| ())
}

async fn number(pool: &MySqlPool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await.unwrap()
}
