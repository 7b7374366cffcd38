//! A saga whose process is killed in the middle of a step, and then once more. What the step wrote in the store was not committed, and is
//! gone; what it did elsewhere it does again, under the same key, by which the bank knows that it has done it. The next process takes the
//! saga up where it was, and in the end everything has happened once.
//!
//! `examples/saga_recovery/crash.sh` starts the program, kills it with SIGKILL, and starts it again, until the saga has ended. By hand:
//! `cargo run -p saga_recovery -- FOLDER charge` keeps its files in a folder and stands still in the step `charge`, to be killed;
//! `cargo run -p saga_recovery -- FOLDER` goes on.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;
use std::time::Duration;

use cqrs::BoxError;
use cqrs::prelude::*;
use cqrs::sqlx::sqlite::SqliteConnectOptions;
use cqrs::sqlx::{self, Sqlite, SqlitePool};
use serde::{Deserialize, Serialize};

#[saga(name = "order", version = 1, steps = [reserve, charge, ship])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    pieces: u32,
    cents: u32,
}

/// Its row and the progress of the saga are one transaction: both are there, or neither.
#[saga_step(compensate = none)]
async fn reserve(cx: &mut Order, tx: &mut Tx<Sqlite>, still: Inject<StandsStill>) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE stock SET pieces = pieces - ?").bind(cx.pieces).execute(&mut **tx).await?;
    println!("  reserve: {} pieces are taken", cx.pieces);
    still.at("reserve").await;
    Ok(())
}

/// The bank is no part of any transaction. Whoever dies here cannot know whether it has charged, so the next one asks it again.
#[saga_step(compensate = none)]
async fn charge(cx: &mut Order, key: StepKey, bank: Inject<Bank>, still: Inject<StandsStill>) -> Result<(), BoxError> {
    bank.charge(&key, cx.cents).await?;
    println!("  charge: the bank has answered to the key {key}");
    still.at("charge").await;
    Ok(())
}

#[saga_step(pivot)]
async fn ship(cx: &mut Order, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO parcels (pieces) VALUES (?)").bind(cx.pieces).execute(&mut **tx).await?;
    println!("  ship: a parcel of {} pieces", cx.pieces);
    Ok(())
}

/// Stands for another company, with a database of its own.
struct Bank(SqlitePool);

impl Bank {
    async fn open(file: &Path) -> Result<Self, sqlx::Error> {
        let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file).create_if_missing(true)).await?;
        let tables = "CREATE TABLE IF NOT EXISTS calls (key TEXT);
                      CREATE TABLE IF NOT EXISTS charges (key TEXT PRIMARY KEY, cents INTEGER)";
        sqlx::raw_sql(tables).execute(&pool).await?;
        Ok(Self(pool))
    }

    /// Charges once for each key, however often it is called.
    async fn charge(&self, key: &StepKey, cents: u32) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO calls (key) VALUES (?)").bind(key.as_str()).execute(&self.0).await?;
        let charge = sqlx::query("INSERT INTO charges (key, cents) VALUES (?, ?) ON CONFLICT DO NOTHING");
        charge.bind(key.as_str()).bind(cents).execute(&self.0).await?;
        Ok(())
    }
}

/// The step in which this process waits to be killed, if there is one.
struct StandsStill(Option<String>);

impl StandsStill {
    async fn at(&self, step: &str) {
        if self.0.as_deref() == Some(step) {
            println!("  {step}: stands still, not done");
            std::future::pending::<()>().await;
        }
    }
}

async fn show(app: &App, bank: &SqlitePool) -> Result<(), BoxError> {
    let mut unit = app.unit::<Sqlite>().await?;
    let tables = "CREATE TABLE IF NOT EXISTS stock (id INTEGER PRIMARY KEY, pieces INTEGER);
                  CREATE TABLE IF NOT EXISTS parcels (pieces INTEGER);
                  INSERT INTO stock VALUES (1, 10) ON CONFLICT DO NOTHING";
    sqlx::raw_sql(tables).execute(&mut **unit.tx()).await?;
    unit.commit().await?;

    // The first process starts it. Those after it join it, and take it up as soon as its owner's lease has run out.
    app.saga(Order { pieces: 3, cents: 1200 }).id("order-1").await?;

    let mut unit = app.unit::<Sqlite>().await?;
    let sql = "SELECT (SELECT pieces FROM stock), (SELECT COUNT(*) FROM parcels)";
    let (left, parcels): (u32, u32) = sqlx::query_as(sql).fetch_one(&mut **unit.tx()).await?;
    println!("The order has ended: {left} of 10 pieces are left, parcels: {parcels}");
    let sql = "SELECT (SELECT COUNT(*) FROM calls), (SELECT COUNT(*) FROM charges), (SELECT SUM(cents) FROM charges)";
    let (calls, charges, cents): (u32, u32, u32) = sqlx::query_as(sql).fetch_one(bank).await?;
    println!("The bank: calls: {calls}, charges: {charges}, of {cents} cents");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let mut words = std::env::args().skip(1);
    let folder = words.next().ok_or("say in which folder its files are, or run examples/saga_recovery/crash.sh")?;
    let bank = Bank::open(&Path::new(&folder).join("bank.db")).await?;
    let pool = bank.0.clone();
    let app = cqrs::bootstrap!()
        .store(Store::url(format!("sqlite://{folder}/orders.db")))
        .lease(Duration::from_secs(1)) // for so long others leave alone what a process had that is gone
        .provide(bank)
        .provide(StandsStill(words.next()))
        .await?;
    let mut shown = Ok(());
    app.run_until(async { shown = show(&app, &pool).await }).await?;
    shown
}
