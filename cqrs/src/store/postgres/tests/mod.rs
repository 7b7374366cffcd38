//! What the store promises, on a real server.

#[cfg(feature = "testing")]
mod conformance;
mod faults;
mod keys;
mod opening;
mod operations;
mod outbox;
mod plans;
mod sagas;
mod shards;
mod unit;
mod upgrade;
mod work;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, PgPool, Postgres, Row};
use uuid::Uuid;

use super::{PostgresStore, rows};
use crate::store::driver::{ClaimRequest, Driver, Transaction, WorkShare};
use crate::store::{
    Claim, ClaimedOutbox, ClaimedWork, OutboxOutcome, OutboxRecord, Record, Store, WorkKind, WorkQueue, WorkRecord,
};
use crate::unit::Tx;

const LEASE: Duration = Duration::from_secs(5);

/// The server's URL.
fn server() -> String {
    std::env::var("CQRS_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!("`CQRS_TEST_POSTGRES_URL` names no PostgreSQL server for tests: start one with `tests/services up postgres`, and load what `tests/services env` prints")
    })
}

/// A schema of a test's own.
struct Schema {
    name: String,
}

impl Schema {
    async fn new() -> Self {
        let name = format!("t_{}", Uuid::now_v7().simple());
        run_on(&mut admin().await, &format!("CREATE SCHEMA {name}")).await.unwrap();
        Self { name }
    }

    /// The server, with this schema as the one that is meant.
    fn options(&self) -> PgConnectOptions {
        server()
            .parse::<PgConnectOptions>()
            .unwrap()
            .options([("search_path", self.name.as_str())])
            .application_name(&self.name)
    }

    fn url(&self) -> String {
        let url = server();
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}options[search_path]={0}&application_name={0}", self.name)
    }

    async fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(20).connect_with(self.options()).await.unwrap()
    }

    /// A store on a pool of the user's, of so many connections.
    async fn lent(&self, connections: u32) -> PostgresStore {
        let pool = PgPoolOptions::new().max_connections(connections).connect_with(self.options()).await.unwrap();
        PostgresStore::connect(Store::pool(pool)).await.unwrap()
    }

    async fn open(&self) -> PostgresStore {
        let store = PostgresStore::connect(Store::url(self.url())).await.unwrap();
        store.migrate().await.unwrap();
        store
    }
}

async fn admin() -> PgConnection {
    server().parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}

/// Dropped on a thread of its own: a test's runtime may be on its way out. What it has left open would be waited for for ever.
impl Drop for Schema {
    fn drop(&mut self) {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{0}'; \
             DROP SCHEMA IF EXISTS {0}, {0}_own CASCADE",
            self.name
        );
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { run_on(&mut admin().await, &sql).await })
        });
        let _ = dropped.join();
    }
}

async fn fresh() -> (Schema, PostgresStore) {
    let schema = Schema::new().await;
    let store = schema.open().await;
    (schema, store)
}

async fn run_on(connection: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await?.rows_affected())
}

async fn run_sql(pool: &PgPool, sql: &str) -> u64 {
    run_on(&mut pool.acquire().await.unwrap(), sql).await.unwrap()
}

async fn number(pool: &PgPool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await.unwrap()
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

async fn keep_messages(store: &PostgresStore, records: impl IntoIterator<Item = OutboxRecord>) {
    let mut tx = store.begin().await.unwrap();
    tx.store(records.into_iter().map(Record::Outbox).collect()).await.unwrap();
    tx.commit().await.unwrap();
}

/// A claim at some second, with a lease of five.
fn request(owner: &str, seconds: u64, limit: usize) -> ClaimRequest<'_> {
    ClaimRequest { owner, now: at(seconds), lease_now: at(seconds), lease_until: at(seconds) + LEASE, limit }
}

async fn claim(store: &PostgresStore, seconds: u64, limit: usize) -> Vec<ClaimedOutbox> {
    store.claim_outbox(request("a", seconds, limit)).await.unwrap()
}

fn names(claimed: &[ClaimedOutbox]) -> Vec<&str> {
    claimed.iter().map(|row| row.record.name.as_str()).collect()
}

async fn settle(store: &PostgresStore, rows: &[ClaimedOutbox], outcome: &OutboxOutcome) -> u64 {
    store.settle_outbox(rows.iter().map(|row| (row.claim, outcome.clone())).collect()).await.unwrap()
}

async fn publish(store: &PostgresStore, rows: &[ClaimedOutbox]) -> u64 {
    settle(store, rows, &OutboxOutcome::Published).await
}

fn handle(tx: &mut Box<dyn Transaction>) -> &mut Tx<Postgres> {
    tx.handle().unwrap().downcast_mut().unwrap()
}

async fn run(tx: &mut Box<dyn Transaction>, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(&mut **handle(tx)).await.map(|_| ())
}
