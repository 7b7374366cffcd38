//! A transactional command on PostgreSQL beside the same statements by hand: `tx.postgres`, and `tx.postgres.8` for eight
//! connections at once.
//!
//! Both write a business row, and an outbox row with the same columns into a table with the same indexes, through a pool of
//! as many connections.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Instant, SystemTime};

use bench_servers::{Arguments, Rates, Result, drop_schema, fresh_schema, rate, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::postgres::PgPoolOptions;
use cqrs::sqlx::{self, AssertSqlSafe, PgPool, Postgres};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const CALLS: u32 = 4_000;

#[derive(Command)]
#[command(error = sqlx::Error)]
struct Book {
    what: &'static str,
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "booked", topic = "bookings", key = id)]
struct Booked {
    id: i64,
}

const INSERT: &str = "INSERT INTO bookings (what) VALUES ($1) RETURNING id";

#[command_handler]
async fn book(cmd: Book, tx: &mut Tx<Postgres>, events: &mut Events) -> std::result::Result<(), sqlx::Error> {
    let id = sqlx::query_scalar(INSERT).bind(cmd.what).fetch_one(&mut **tx).await?;
    events.raise(Booked { id });
    Ok(())
}

const OUTBOX: &str = "
INSERT INTO by_hand (id, name, version, topic, message_key, payload, headers, raised_at, due_at, shard)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)";

/// The body of a message, as it is published.
#[derive(Serialize)]
struct Body<'a> {
    payload: &'a Booked,
    event_id: Uuid,
    event_timestamp: String,
    event_name: &'a str,
    topic: &'a str,
}

async fn by_hand(pool: &PgPool) -> Result<()> {
    let call = Uuid::now_v7().to_string();
    let mut tx = pool.begin().await?;
    let id: i64 = sqlx::query_scalar(INSERT).bind("a table").fetch_one(&mut *tx).await?;
    let (event, now) = (Uuid::now_v7(), SystemTime::now());
    let body = Body {
        payload: &Booked { id },
        event_id: event,
        event_timestamp: humantime::format_rfc3339_micros(now).to_string(),
        event_name: "booked",
        topic: "bookings",
    };
    let key = id.to_string();
    let headers = BTreeMap::from([
        ("event_id", event.to_string()),
        ("event_name", "booked".to_owned()),
        ("event_version", "1".to_owned()),
        ("correlation_id", call.clone()),
        ("causation_id", call),
        ("key", key.clone()),
    ]);
    sqlx::query(OUTBOX)
        .bind(event)
        .bind("booked")
        .bind(1)
        .bind("bookings")
        .bind(key)
        .bind(serde_json::to_vec(&body)?)
        .bind(serde_json::to_string(&headers)?)
        .bind(i64::try_from(now.duration_since(SystemTime::UNIX_EPOCH)?.as_micros())?)
        .bind(i16::try_from(id % 16)?)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

/// Calls a second, so many of them at once.
async fn calls<F: Future<Output = Result<()>>>(count: u32, at_once: u32, call: impl Fn() -> F) -> Result<f64> {
    let begun = Instant::now();
    let one = || async {
        for _ in 0..count / at_once {
            call().await?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    };
    futures_util::future::try_join_all((0..at_once).map(|_| one())).await?;
    Ok(rate(count / at_once * at_once, begun.elapsed()))
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let at_once = if arguments.path == "tx.postgres.8" { 8 } else { 1 };
    let url = server("POSTGRES")?;
    let admin = PgPool::connect(&url).await?;
    let schema = fresh_schema(&admin).await?;
    let options = url.parse::<sqlx::postgres::PgConnectOptions>()?.options([("search_path", &schema)]);
    let pool = |options| PgPoolOptions::new().max_connections(at_once).test_before_acquire(false).connect_with(options);
    let (plain, given) = (pool(options.clone()).await?, pool(options).await?);
    let app = cqrs::bootstrap!().store(Store::pool(given)).await?;
    sqlx::query("CREATE TABLE bookings (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what TEXT NOT NULL)")
        .execute(&plain)
        .await?;
    sqlx::query(AssertSqlSafe("CREATE TABLE by_hand (LIKE cqrs_outbox INCLUDING ALL)")).execute(&plain).await?;
    let count = arguments.of(CALLS);
    let mut rates = Rates::default();
    for round in 0..=arguments.rounds() {
        let ours = calls(count, at_once, || async { Ok(app.send(Book { what: "a table" }).await?) }).await?;
        let by_hand = calls(count, at_once, || by_hand(&plain)).await?;
        if round > 0 {
            rates.ours.push(ours);
            rates.plain.push(by_hand);
        }
    }
    drop_schema(&admin, &schema).await?;
    rates.tell()
}
