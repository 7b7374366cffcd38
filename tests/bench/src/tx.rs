//! A transactional command beside the same statements by hand.

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite, SqlitePool};
use serde::{Deserialize, Serialize};

use crate::app::app;
use crate::harness::{Bench, Report, Scale, interleave, runtime};

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

/// The same statements by hand: one business row, one outbox row with the same columns.
async fn by_hand(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let id = sqlx::query(INSERT).bind("a table").execute(&mut *tx).await?.last_insert_rowid();
    let payload = serde_json::json!({ "payload": { "id": id }, "event_name": "booked" }).to_string();
    sqlx::query(
        "INSERT INTO by_hand (event_id, name, version, topic, message_key, payload, headers, raised_at, due_at)
         VALUES (?, 'booked', 1, 'bookings', ?, ?, '{}', 0, 0)",
    )
    .bind(&[0_u8; 16][..])
    .bind(id.to_string())
    .bind(payload.into_bytes())
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

fn sqlite(path: &'static str, scale: Scale) -> Report {
    let runtime = runtime();
    let measured = runtime.block_on(async {
        let (app, _directory) = app(0).await;
        let mut unit = app.unit::<Sqlite>().await?;
        for statement in [
            "CREATE TABLE bookings (id INTEGER PRIMARY KEY, what TEXT NOT NULL)",
            "CREATE TABLE by_hand (seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id BLOB, name TEXT, version INTEGER,
             topic TEXT, message_key TEXT, payload BLOB, headers TEXT, raised_at INTEGER, due_at INTEGER)",
        ] {
            sqlx::query(statement).execute(&mut **unit.tx()).await?;
        }
        unit.commit().await?;
        let pool = app.query(ThePool).await?;
        let (app, pool) = (&app, &pool);
        Ok::<_, cqrs::Error>(interleave(scale, CALLS, || app.send(Book { what: "a table" }), || by_hand(pool)).await)
    });
    match measured {
        Ok((ours, plain)) => {
            let micros = |rounds: Vec<f64>| rounds.into_iter().map(|nanos| nanos / 1e3).collect();
            Report::of_costs(path, "us", micros(ours), micros(plain), None)
        }
        Err(error) => {
            eprintln!("{error:?}");
            std::process::exit(1);
        }
    }
}

#[derive(Query)]
#[query(response = SqlitePool, error = std::convert::Infallible)]
struct ThePool;

#[query_handler]
async fn the_pool(_q: ThePool, pool: Inject<SqlitePool>) -> SqlitePool {
    (*pool).clone()
}
