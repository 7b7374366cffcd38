//! Consumed messages with one business row each, beside a plain loop with the same transactions: `consume.kafka.postgres`, and
//! `.each` with a transaction for every message.
//!
//! Both take from a topic of four partitions with as many messages of 1,000 keys, one batch at a time, mark each message in a table
//! of the inbox's own schema, insert a row for each, commit, and then commit the offsets. The time of a round is from the first
//! message published until the last row is there.

use std::time::{Duration, Instant};

use bench_servers::consuming::{ByHand, marks};
use bench_servers::kafka::{producer, servers, topics};
use bench_servers::{Arguments, Rates, Result, drop_schema, fresh_schema, rate, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::postgres::PgPoolOptions;
use cqrs::sqlx::{self, AssertSqlSafe, PgPool, Postgres};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const MESSAGES: u32 = 20_000;
const KEYS: u32 = 1_000;
const BATCH: usize = 100;
const PARTITIONS: i32 = 4;
const OURS: &str = "bench_consumed";
const PLAIN: &str = "bench_consumed_by_hand";

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "metered", topic = "bench_consumed", key = meter)]
struct Metered {
    meter: u32,
}

/// One batch at a time, as the plain loop.
#[event_handler(group = "bench_meters", concurrency = 1)]
async fn read_meter(e: Metered, tx: &mut Tx<Postgres>) -> std::result::Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO readings (meter) VALUES ($1)").bind(i64::from(e.meter)).execute(&mut **tx).await.map(drop)
}

/// Publishes all messages, and waits until as many rows are there.
async fn round(producer: &FutureProducer, topic: &str, rows: &PgPool, table: &str, count: u32) -> Result<f64> {
    let counted = format!("SELECT count(*) FROM {table}");
    sqlx::query(AssertSqlSafe(format!("TRUNCATE {table}"))).execute(rows).await?;
    let begun = Instant::now();
    let mut sent = Vec::new();
    for number in 0..count {
        let (id, meter) = (Uuid::now_v7(), number % KEYS);
        let body = serde_json::json!({
            "payload": {"meter": meter}, "event_id": id, "event_timestamp": "2026-01-02T03:04:05Z",
            "event_name": "metered", "topic": topic,
        });
        let headers = OwnedHeaders::new()
            .insert(Header { key: "event_id", value: Some(&id.to_string()) })
            .insert(Header { key: "event_name", value: Some("metered") });
        let (key, payload) = (meter.to_string(), body.to_string());
        let record = FutureRecord::to(topic).key(&key).payload(&payload).headers(headers);
        sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
    }
    for delivery in sent {
        delivery.await?.map_err(|(error, _)| error)?;
    }
    while sqlx::query_scalar::<_, i64>(AssertSqlSafe(counted.clone())).fetch_one(rows).await? < i64::from(count) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(rate(count, begun.elapsed()))
}

/// The plain loop: as many messages as there are, up to a batch, in one transaction, and then their offsets.
async fn by_hand(consumer: ByHand, pool: PgPool, most: usize) -> Result<()> {
    loop {
        let mut batch = consumer.receive::<Metered>(most).await?;
        let mut tx = pool.begin().await?;
        batch.mark(&mut tx).await?;
        for body in &batch.bodies {
            let insert = sqlx::query("INSERT INTO readings_by_hand (meter) VALUES ($1)");
            insert.bind(i64::from(body.payload.meter)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        consumer.commit(&batch)?;
    }
}

async fn tables(pool: &PgPool) -> Result<()> {
    for table in ["readings", "readings_by_hand"] {
        let columns = "(id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, meter BIGINT NOT NULL)";
        sqlx::query(AssertSqlSafe(format!("CREATE TABLE {table} {columns}"))).execute(pool).await?;
    }
    marks(pool).await
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let batch = if arguments.path == "consume.kafka.postgres.each" { 1 } else { BATCH };
    let (url, servers) = (server("POSTGRES")?, servers()?);
    topics(&servers, [OURS, PLAIN], PARTITIONS).await?;
    let admin = PgPool::connect(&url).await?;
    let schema = fresh_schema(&admin).await?;
    let options = url.parse::<sqlx::postgres::PgConnectOptions>()?.options([("search_path", &schema)]);
    let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await?;
    let app = cqrs::bootstrap!()
        .store(Store::pool(pool.clone()))
        .broker(Broker::url(server("KAFKA")?))
        .settings(Settings::from_toml(&format!("group.bench_meters.batch = {batch}"))?)
        .run(["group:bench_meters"])
        .await?;
    tables(&pool).await?;
    let running = tokio::spawn({
        let app = app.clone();
        async move { app.run_until(std::future::pending::<()>()).await }
    });
    let plain = tokio::spawn(by_hand(ByHand::new(&servers, "bench_by_hand", PLAIN)?, pool.clone(), batch));
    let producer = producer(&servers, "5")?;
    let count = if batch == 1 { arguments.of(MESSAGES) / 4 } else { arguments.of(MESSAGES) };
    let mut rates = Rates::default();
    for number in 0..=arguments.rounds() {
        let ours = round(&producer, OURS, &pool, "readings", count).await?;
        let by_hand = round(&producer, PLAIN, &pool, "readings_by_hand", count).await?;
        if number > 0 {
            rates.ours.push(ours);
            rates.plain.push(by_hand);
        }
    }
    plain.abort();
    app.shutdown().await;
    running.await??;
    drop_schema(&admin, &schema).await?;
    rates.tell()
}
