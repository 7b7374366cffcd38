//! The relay beside the plain loop that drains a table, produces, awaits all and commits: `relay.postgres.kafka`.
//!
//! Both publish messages of about 200 bytes of 100 keys, with the same headers, to the same topic, by producers of the same
//! settings, which have published before. All rows of a round are there at once: the time is from their commit until the table is
//! empty. The plain table has a primary key and nothing else.

use std::time::{Duration, Instant};

use bench_servers::{Arguments, Peers, Rates, Result, drop_schema, fresh_schema, rate, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::postgres::PgPoolOptions;
use cqrs::sqlx::{self, PgPool, Postgres, Row};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::{Deserialize, Serialize};

const ROWS: u32 = 100_000;
const KEYS: u32 = 100;
const STORED_AT_ONCE: u32 = 2_000;
const DRAINED_AT_ONCE: i64 = 2_000;
const TOPIC: &str = "bench_relay";

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "measured", topic = "bench_relay", key = key)]
struct Measured {
    key: u32,
}

const BY_HAND: &str = "
CREATE TABLE by_hand (seq BIGINT PRIMARY KEY, topic TEXT, message_key TEXT, payload BYTEA, headers TEXT)";

const FILL: &str = "
INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, due_at, shard)
SELECT gen_random_uuid(), name, version, topic, message_key, payload, headers, raised_at, due_at, shard
FROM templates ORDER BY seq LIMIT $1";

const FILL_BY_HAND: &str = "
INSERT INTO by_hand SELECT seq, topic, message_key, payload, headers FROM templates ORDER BY seq LIMIT $1";

const DRAIN: &str = "
DELETE FROM by_hand WHERE seq = ANY (ARRAY(SELECT seq FROM by_hand ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING seq, message_key, payload, headers";

/// Stores rows by the framework, nobody publishing, and keeps them aside.
async fn templates(app: &App, pool: &PgPool, rows: u32) -> Result<()> {
    for first in (0..rows).step_by(STORED_AT_ONCE as usize) {
        let mut unit = app.unit::<Postgres>().await?;
        for number in first..rows.min(first + STORED_AT_ONCE) {
            unit.events().raise(Measured { key: number % KEYS });
        }
        unit.commit().await?;
    }
    sqlx::query("CREATE TABLE templates AS SELECT * FROM cqrs_outbox").execute(pool).await?;
    sqlx::query("TRUNCATE cqrs_outbox").execute(pool).await?;
    sqlx::query(BY_HAND).execute(pool).await?;
    Ok(())
}

async fn by_hand(pool: &PgPool, producer: &FutureProducer, rows: u32) -> Result<f64> {
    sqlx::query(FILL_BY_HAND).bind(i64::from(rows)).execute(pool).await?;
    let begun = Instant::now();
    loop {
        let mut tx = pool.begin().await?;
        let mut found = sqlx::query(DRAIN).bind(DRAINED_AT_ONCE).fetch_all(&mut *tx).await?;
        if found.is_empty() {
            break;
        }
        found.sort_unstable_by_key(|row| row.get::<i64, _>("seq"));
        let mut sent = Vec::with_capacity(found.len());
        for row in &found {
            let said: std::collections::BTreeMap<String, String> = serde_json::from_str(row.get("headers"))?;
            let mut headers = OwnedHeaders::new_with_capacity(said.len());
            for (name, value) in &said {
                headers = headers.insert(Header { key: name, value: Some(value) });
            }
            let (key, payload): (&str, &[u8]) = (row.get("message_key"), row.get("payload"));
            let record = FutureRecord::to(TOPIC).key(key).payload(payload).headers(headers);
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for delivery in sent {
            delivery.await?.map_err(|(error, _)| error)?;
        }
        tx.commit().await?;
    }
    Ok(rate(rows, begun.elapsed()))
}

/// From the commit, which wakes the relay, until the outbox is empty.
async fn ours(app: &App, pool: &PgPool, rows: u32) -> Result<f64> {
    let mut unit = app.unit::<Postgres>().await?;
    sqlx::query(FILL).bind(i64::from(rows) - 1).execute(&mut **unit.tx()).await?;
    unit.events().raise(Measured { key: 0 });
    unit.commit().await?;
    let begun = Instant::now();
    // The last goes last, and is found at the end of its index: a look at the table would read all that was deleted.
    let last = "SELECT seq FROM cqrs_outbox ORDER BY seq DESC LIMIT 1";
    while sqlx::query_scalar::<_, i64>(last).fetch_optional(pool).await?.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(rate(rows, begun.elapsed()))
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (url, kafka) = (server("POSTGRES")?, server("KAFKA")?);
    let admin = PgPool::connect(&url).await?;
    let schema = fresh_schema(&admin).await?;
    let options = url.parse::<sqlx::postgres::PgConnectOptions>()?.options([("search_path", &schema)]);
    let pool = PgPoolOptions::new().max_connections(8).connect_with(options).await?;
    let app =
        cqrs::bootstrap!().store(Store::pool(pool.clone())).broker(Broker::url(kafka.clone())).run(["relay"]).await?;
    let rows = arguments.of(ROWS);
    templates(&app, &pool, rows).await?;
    let running = tokio::spawn({
        let app = app.clone();
        async move { app.run_until(std::future::pending::<()>()).await }
    });
    let servers = kafka.trim_start_matches("kafka://");
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    let mut rates = Rates::default();
    let mut peers = Peers::new(&arguments, "postgres");
    for round in 0..=arguments.rounds() {
        let ours = ours(&app, &pool, rows).await?;
        let by_hand = by_hand(&pool, &producer, rows).await?;
        if round > 0 {
            rates.ours.push(ours);
            rates.plain.push(by_hand);
            peers.round(&mut rates.peers)?;
        }
    }
    app.shutdown().await;
    running.await??;
    drop_schema(&admin, &schema).await?;
    rates.tell()
}
