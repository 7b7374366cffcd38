//! A transactional command on PostgreSQL beside the same statements by hand: `tx.postgres`, and `tx.postgres.8` for eight
//! connections at once.
//!
//! Both write a business row, and an outbox row with the same columns into a table with the same indexes, through a pool of
//! as many connections.

use bench_servers::booking::{Booked, Row, at_once, rounds};
use bench_servers::{Arguments, Peers, Result, drop_schema, fresh_schema, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::postgres::PgPoolOptions;
use cqrs::sqlx::{self, PgPool, Postgres};
use uuid::Uuid;

#[derive(Command)]
#[command(error = sqlx::Error)]
struct Book {
    what: &'static str,
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

async fn by_hand(pool: &PgPool) -> Result<()> {
    let call = Uuid::now_v7().to_string();
    let mut tx = pool.begin().await?;
    let id: i64 = sqlx::query_scalar(INSERT).bind("a table").fetch_one(&mut *tx).await?;
    let row = Row::new(&Booked { id }, &call)?;
    sqlx::query(OUTBOX)
        .bind(row.id)
        .bind("booked")
        .bind(1)
        .bind("bookings")
        .bind(row.key)
        .bind(row.payload)
        .bind(row.headers)
        .bind(row.raised_at)
        .bind(i16::try_from(id % 16)?)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let at_once = at_once(&arguments);
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
    sqlx::query("CREATE TABLE by_hand (LIKE cqrs_outbox INCLUDING ALL)").execute(&plain).await?;
    let ours = || async { Ok(app.send(Book { what: "a table" }).await?) };
    let rates = rounds(&arguments, at_once, ours, || by_hand(&plain), Peers::none()).await?;
    drop_schema(&admin, &schema).await?;
    rates.tell()
}
