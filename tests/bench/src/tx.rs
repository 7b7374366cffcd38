//! A transactional command beside the same statements by hand.
//!
//! What is written is the same on both sides: a business row, and an outbox row with the same columns, into a table with
//! the same indexes. So is what it is written through: a pool of one connection, with the same pragmas.

use std::collections::BTreeMap;
use std::time::SystemTime;

use cqrs::prelude::*;
use cqrs::sqlx::sqlite::SqlitePoolOptions;
use cqrs::sqlx::{self, AssertSqlSafe, Sqlite, SqlitePool};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::app;
use crate::harness::{Bench, Report, Scale, interleave, or_exit, runtime};

const CALLS: u32 = 2_000;

pub(crate) fn benches() -> Vec<Bench> {
    vec![Bench { path: "tx.sqlite", run: sqlite }]
}

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

const INSERT: &str = "INSERT INTO bookings (what) VALUES (?)";

#[command_handler]
async fn book(cmd: Book, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), sqlx::Error> {
    let id = sqlx::query(INSERT).bind(cmd.what).execute(&mut **tx).await?.last_insert_rowid();
    events.raise(Booked { id });
    Ok(())
}

const OUTBOX: &str = "INSERT INTO by_hand (id, name, version, topic, message_key, payload, headers, raised_at, due_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// The body of a message, as it is published.
#[derive(Serialize)]
struct Body<'a> {
    payload: &'a Booked,
    event_id: Uuid,
    event_timestamp: String,
    event_name: &'a str,
    topic: &'a str,
}

/// The same by hand.
async fn by_hand(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    let call = Uuid::now_v7();
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let id = sqlx::query(INSERT).bind("a table").execute(&mut *tx).await?.last_insert_rowid();
    let (event, now) = (Uuid::now_v7(), SystemTime::now());
    let body = Body {
        payload: &Booked { id },
        event_id: event,
        event_timestamp: humantime::format_rfc3339_micros(now).to_string(),
        event_name: "booked",
        topic: "bookings",
    };
    let (key, call) = (id.to_string(), call.to_string());
    let headers = BTreeMap::from([
        ("event_id", event.to_string()),
        ("event_name", "booked".to_owned()),
        ("event_version", "1".to_owned()),
        ("correlation_id", call.clone()),
        ("causation_id", call),
        ("key", key.clone()),
    ]);
    let json = |error| sqlx::Error::Encode(Box::new(error));
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    sqlx::query(OUTBOX)
        .bind(&event.as_bytes()[..])
        .bind("booked")
        .bind(1)
        .bind("bookings")
        .bind(key)
        .bind(serde_json::to_vec(&body).map_err(json)?)
        .bind(serde_json::to_string(&headers).map_err(json)?)
        .bind(now)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

/// A table like the outbox, and what both sides write besides.
async fn tables(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query("CREATE TABLE bookings (id INTEGER PRIMARY KEY, what TEXT NOT NULL)").execute(pool).await?;
    let outbox = "SELECT sql FROM sqlite_master WHERE tbl_name = 'cqrs_outbox' AND type <> 'trigger' AND sql IS NOT NULL ORDER BY type DESC";
    let statements: Vec<String> = sqlx::query_scalar(outbox).fetch_all(pool).await?;
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement.replace("cqrs_outbox", "by_hand"))).execute(pool).await?;
    }
    Ok(())
}

/// Fails unless both sides wrote the same: as many rows, of the same size but for the digits of their numbers.
async fn compare(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    let written = "SELECT count(*), CAST(round(avg(length(name) + length(topic) + length(payload) + length(headers))) AS INTEGER) FROM ";
    let ours: (i64, i64) = sqlx::query_as(AssertSqlSafe(format!("{written} cqrs_outbox"))).fetch_one(pool).await?;
    let plain: (i64, i64) = sqlx::query_as(AssertSqlSafe(format!("{written} by_hand"))).fetch_one(pool).await?;
    if ours.0 == plain.0 && (ours.1 - plain.1).abs() <= 2 {
        return Ok(());
    }
    Err(sqlx::Error::Protocol(format!("ours wrote {ours:?} rows and bytes a row, the plain version {plain:?}")))
}

async fn measure(scale: Scale) -> Result<(Vec<f64>, Vec<f64>), Box<dyn std::error::Error>> {
    let (app, _directory) = app(0).await;
    let given = app.query(ThePool).await?;
    tables(&given).await?;
    let settings = (*given.connect_options()).clone();
    let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(settings).await?;
    let (app, plain) = (&app, &pool);
    let measured = interleave(scale, CALLS, || app.send(Book { what: "a table" }), || by_hand(plain)).await;
    compare(&given).await?;
    Ok(measured)
}

fn sqlite(path: &'static str, scale: Scale) -> Report {
    let (ours, plain) = or_exit(runtime().block_on(measure(scale)));
    let micros = |rounds: Vec<f64>| rounds.into_iter().map(|nanos| nanos / 1e3).collect();
    Report::of_costs(path, "us", micros(ours), micros(plain), None)
}

#[derive(Query)]
#[query(response = SqlitePool, error = std::convert::Infallible)]
pub(crate) struct ThePool;

#[query_handler]
async fn the_pool(_q: ThePool, pool: Inject<SqlitePool>) -> SqlitePool {
    (*pool).clone()
}
