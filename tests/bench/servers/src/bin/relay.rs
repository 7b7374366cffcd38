//! The relay beside the plain loop that drains a table, publishes, awaits all and commits: `relay.postgres.kafka`,
//! `relay.mariadb.kafka` and `relay.sqlite.memory`.
//!
//! Both publish messages of about 200 bytes of 100 keys, with the same headers, to the same topic, by producers of the same
//! settings, which have published before. All rows of a round are there at once: the time is from their commit until the table is
//! empty. The plain table has a primary key and nothing else.

use std::time::Duration;

use bench_servers::kafka::{self, Ends};
use bench_servers::relaying::{OnMariaDb, OnPostgres, OnSqlite, Publisher, Tables, by_hand, ours, templates};
use bench_servers::{
    Arguments, Peers, Rates, Result, drop_database, drop_schema, fresh_database, fresh_schema, server,
};
use clap::Parser;
use cqrs::broker::MemoryBroker;
use cqrs::prelude::*;
use cqrs::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use cqrs::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use cqrs::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use cqrs::sqlx::{MySqlPool, PgPool};
use serde::{Deserialize, Serialize};

const ROWS: u32 = 100_000;
const TOPIC: &str = "bench_relay";
const CONNECTIONS: u32 = 8;

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "measured", topic = "bench_relay", key = key)]
struct Measured {
    key: u32,
}

async fn measure<T: Tables>(
    store: Store,
    broker: Broker,
    tables: &T,
    publisher: &impl Publisher,
    mut peers: Peers,
    arguments: &Arguments,
) -> Result<Rates> {
    let app = cqrs::bootstrap!().store(store).broker(broker).run(["relay"]).await?;
    let rows = arguments.of(ROWS);
    templates(&app, tables, rows, |key| Measured { key }).await?;
    let running = tokio::spawn({
        let app = app.clone();
        async move { app.run_until(std::future::pending::<()>()).await }
    });
    let mut rates = Rates::default();
    for round in 0..=arguments.rounds() {
        let ours = ours(&app, tables, rows, Measured { key: 0 }).await?;
        let by_hand = by_hand(tables, publisher, TOPIC, rows).await?;
        if round > 0 {
            rates.ours.push(ours);
            rates.plain.push(by_hand);
            peers.round(&mut rates.peers)?;
        }
    }
    app.shutdown().await;
    running.await??;
    Ok(rates)
}

async fn from_postgres(arguments: &Arguments) -> Result<Rates> {
    let url = server("POSTGRES")?;
    let admin = PgPool::connect(&url).await?;
    let schema = fresh_schema(&admin).await?;
    let options = url.parse::<PgConnectOptions>()?.options([("search_path", &schema)]);
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
    let peers = Peers::relay(arguments, "postgres");
    let rates = to_kafka(Store::pool(pool.clone()), &OnPostgres(pool), peers, arguments).await?;
    drop_schema(&admin, &schema).await?;
    Ok(rates)
}

async fn from_mariadb(arguments: &Arguments) -> Result<Rates> {
    let url = server("MYSQL")?;
    let admin = MySqlPool::connect(&url).await?;
    let database = fresh_database(&admin).await?;
    let options = url.parse::<MySqlConnectOptions>()?.database(&database);
    let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
    let peers = Peers::relay(arguments, "mysql");
    let rates = to_kafka(Store::pool(pool.clone()), &OnMariaDb(pool), peers, arguments).await?;
    drop_database(&admin, &database).await?;
    Ok(rates)
}

async fn to_kafka<T: Tables>(store: Store, tables: &T, peers: Peers, arguments: &Arguments) -> Result<Rates> {
    let servers = kafka::servers()?;
    let producer = kafka::producer(&servers, "1")?;
    let rates = measure(store, Broker::url(server("KAFKA")?), tables, &producer, peers, arguments).await?;
    Ends::of(&servers, TOPIC)?.forget(&servers).await?;
    Ok(rates)
}

/// The plain loop writes through one connection with the pragmas that the store sets.
async fn from_sqlite(arguments: &Arguments) -> Result<Rates> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("bench.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(30))
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options).await?;
    let store = Store::url(format!("sqlite://{}", file.display()));
    // Nobody subscribes: what is published is confirmed at once.
    let (broker, publisher) = (Broker::driver(MemoryBroker::new()), MemoryBroker::new());
    measure(store, broker, &OnSqlite(pool), &publisher, Peers::none(), arguments).await
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let rates = match arguments.path.as_str() {
        "relay.mariadb.kafka" => from_mariadb(&arguments).await?,
        "relay.sqlite.memory" => from_sqlite(&arguments).await?,
        _ => from_postgres(&arguments).await?,
    };
    rates.tell()
}
