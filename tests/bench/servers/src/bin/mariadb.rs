//! A transactional command on MariaDB beside the same statements by hand: `tx.mariadb`, and `tx.mariadb.8` for eight
//! connections at once.
//!
//! Both write a business row, and an outbox row with the same columns into a table with the same indexes, through a pool of
//! as many connections.

use bench_servers::booking::{Booked, Row, at_once, rounds};
use bench_servers::{Arguments, Peers, Result, drop_database, fresh_database, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use cqrs::sqlx::{self, MySql, MySqlPool};
use uuid::Uuid;

#[derive(Command)]
#[command(error = cqrs::BoxError)]
struct Book {
    what: &'static str,
}

const INSERT: &str = "INSERT INTO bookings (what) VALUES (?)";

#[command_handler]
async fn book(cmd: Book, tx: &mut Tx<MySql>, events: &mut Events) -> std::result::Result<(), cqrs::BoxError> {
    let inserted = sqlx::query(INSERT).bind(cmd.what).execute(&mut **tx).await?;
    events.raise(Booked { id: i64::try_from(inserted.last_insert_id())? });
    Ok(())
}

const OUTBOX: &str = "
INSERT INTO by_hand (id, name, version, topic, message_key, lane, shard, payload, headers, raised_at, due_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

async fn by_hand(pool: &MySqlPool) -> Result<()> {
    let call = Uuid::now_v7().to_string();
    let mut tx = pool.begin().await?;
    let inserted = sqlx::query(INSERT).bind("a table").execute(&mut *tx).await?;
    let id = i64::try_from(inserted.last_insert_id())?;
    let row = Row::new(&Booked { id }, &call)?;
    sqlx::query(OUTBOX)
        .bind(&row.id.as_bytes()[..])
        .bind(&b"booked"[..])
        .bind(1)
        .bind(&b"bookings"[..])
        .bind(row.key.into_bytes())
        // As far apart as digests of the keys are.
        .bind(id.wrapping_mul(0x1E37_79B9_7F4A_7C15))
        .bind(i16::try_from(id % 16)?)
        .bind(row.payload)
        .bind(row.headers.into_bytes())
        .bind(row.raised_at)
        .bind(row.raised_at)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let at_once = at_once(&arguments);
    let url = server("MYSQL")?;
    let admin = MySqlPool::connect(&url).await?;
    let database = fresh_database(&admin).await?;
    let options = url.parse::<MySqlConnectOptions>()?.database(&database);
    let pool =
        |options| MySqlPoolOptions::new().max_connections(at_once).test_before_acquire(false).connect_with(options);
    let (plain, given) = (pool(options.clone()).await?, pool(options).await?);
    let app = cqrs::bootstrap!().store(Store::pool(given)).await?;
    sqlx::query("CREATE TABLE bookings (id BIGINT AUTO_INCREMENT PRIMARY KEY, what TEXT NOT NULL)")
        .execute(&plain)
        .await?;
    sqlx::query("CREATE TABLE by_hand LIKE cqrs_outbox").execute(&plain).await?;
    let ours = || async { Ok(app.send(Book { what: "a table" }).await?) };
    let rates = rounds(&arguments, at_once, ours, || by_hand(&plain), Peers::none()).await?;
    drop_database(&admin, &database).await?;
    rates.tell()
}
