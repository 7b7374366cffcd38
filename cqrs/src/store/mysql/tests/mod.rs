//! What the store promises, on a real server.

mod conformance;
mod faults;
mod keys;
mod opening;
mod operations;
mod outbox;
mod plans;
mod sagas;
mod unit;
mod upgrade;
mod work;

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, MySql, MySqlConnection, Row};
use uuid::Uuid;

use super::MySqlStore;
use crate::store::driver::{ClaimRequest, Driver, Transaction, WorkShare};
use crate::store::{
    Claim, ClaimedOutbox, ClaimedWork, OutboxOutcome, OutboxRecord, Record, Store, WorkKind, WorkQueue, WorkRecord,
};
use crate::unit::Tx;

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

    /// A store on a pool of the user's, of so many connections.
    async fn lent(&self, connections: u32) -> MySqlStore {
        let pool = sqlx::mysql::MySqlPoolOptions::new().max_connections(connections).connect(&self.url).await.unwrap();
        MySqlStore::connect(Store::pool(pool)).await.unwrap()
    }

    /// A store on a pool that gives a connection so often and then none, as the number says at the time.
    async fn failing(&self) -> (MySqlStore, Arc<AtomicI64>) {
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let (given, made) = (Arc::clone(&left), Arc::clone(&left));
        let pool = sqlx::mysql::MySqlPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_millis(200))
            .before_acquire(move |_, _| {
                let is_given = given.fetch_sub(1, Ordering::Relaxed) > 0;
                Box::pin(std::future::ready(Ok(is_given)))
            })
            .after_connect(move |_, _| {
                let is_made = made.load(Ordering::Relaxed) > 0;
                Box::pin(std::future::ready(if is_made { Ok(()) } else { Err(sqlx::Error::PoolTimedOut) }))
            });
        let pool = pool.connect(&self.url).await.unwrap();
        (MySqlStore::connect(Store::pool(pool)).await.unwrap(), left)
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
    let place = Place::new().await;
    let store = place.open().await;
    (place, store)
}

/// With a table of the user's.
async fn with_orders() -> (Place, MySqlStore) {
    let (place, store) = fresh().await;
    run_on(&store, "CREATE TABLE orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, n BIGINT)").await;
    (place, store)
}

async fn run_on(store: &MySqlStore, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&store.pool).await.unwrap();
}

async fn orders(store: &MySqlStore) -> i64 {
    number(store, "SELECT COUNT(*) FROM orders").await
}

async fn number(store: &MySqlStore, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&store.pool).await.unwrap()
}

/// How many statements of a kind the one connection of a store has run.
async fn asked(store: &MySqlStore, kind: &str) -> i64 {
    let sql = format!("SHOW SESSION STATUS LIKE '{kind}'");
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(&store.pool).await.unwrap();
    row.get::<String, _>(1).parse().unwrap()
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
        headers: BTreeMap::new(),
        raised_at: at(0),
    }
}

fn piece(kind: WorkKind, name: &str, lane: Option<&str>) -> WorkRecord {
    WorkRecord {
        id: Uuid::now_v7(),
        kind,
        handler: "mail::send".to_owned(),
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

async fn keep(store: &MySqlStore, records: impl IntoIterator<Item = Record>) {
    let mut tx = store.begin().await.unwrap();
    tx.store(records.into_iter().collect()).await.unwrap();
    tx.commit().await.unwrap();
}

/// A claim at some second, with a lease of five.
fn request(owner: &str, seconds: u64, limit: usize) -> ClaimRequest<'_> {
    let lease_until = at(seconds) + Duration::from_secs(5);
    ClaimRequest { owner, now: at(seconds), lease_now: at(seconds), lease_until, limit }
}

async fn claim(store: &MySqlStore, owner: &str, seconds: u64) -> Vec<ClaimedOutbox> {
    store.claim_outbox(request(owner, seconds, 100)).await.unwrap()
}

async fn claim_work(store: &MySqlStore, seconds: u64) -> Vec<ClaimedWork> {
    let queues = WorkKind::ALL.map(|kind| WorkQueue { kind, group: String::new(), handler: "mail::send".to_owned() });
    let share = WorkShare { queues: &queues, limit: &|| 100 };
    store.claim_work(&[share], request("w", seconds, 100)).await.unwrap()
}

fn names(claimed: &[ClaimedOutbox]) -> Vec<&str> {
    claimed.iter().map(|row| row.record.name.as_str()).collect()
}

fn work_names(claimed: &[ClaimedWork]) -> Vec<&str> {
    claimed.iter().map(|work| work.record.name.as_str()).collect()
}

fn published(claimed: &[ClaimedOutbox]) -> Vec<(Claim, OutboxOutcome)> {
    claimed.iter().map(|row| (row.claim, OutboxOutcome::Published)).collect()
}

fn handle(tx: &mut Box<dyn Transaction>) -> &mut Tx<MySql> {
    tx.handle().unwrap().downcast_mut().unwrap()
}

async fn run(tx: &mut Box<dyn Transaction>, sql: &'static str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::raw_sql(sql).execute(&mut **handle(tx)).await?.rows_affected())
}
