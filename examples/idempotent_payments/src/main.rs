//! A payment is made once, however often the client asks for it: the command carries an idempotency key.
//!
//! `cargo run -p idempotent_payments`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite, SqlitePool};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// A command with a key is compared with what was sent before, and its response is kept: both must be stored.
#[derive(Command, Clone, Serialize, Deserialize)]
#[command(response = Receipt, error = PayError)]
struct Pay {
    invoice: String,
    cents: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    number: i64,
    cents: u32,
}

/// An error is not stored: the next call with the key tries again.
#[derive(Debug)]
enum PayError {
    Declined,
    Database(sqlx::Error),
}

impl fmt::Display for PayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined => f.write_str("the bank declined"),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl From<sqlx::Error> for PayError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// A bank that declines so many payments before it accepts one.
#[derive(Default)]
struct Bank {
    declines: AtomicU32,
}

/// Knows nothing of keys: the payment and the response to it are committed together.
#[command_handler]
async fn pay(cmd: Pay, tx: &mut Tx<Sqlite>, bank: Inject<Bank>) -> Result<Receipt, PayError> {
    if bank.declines.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        return Err(PayError::Declined);
    }
    let insert = sqlx::query("INSERT INTO payments (invoice, cents) VALUES (?, ?)").bind(cmd.invoice).bind(cmd.cents);
    let number = insert.execute(&mut **tx).await?.last_insert_rowid();
    Ok(Receipt { number, cents: cmd.cents })
}

#[derive(Query)]
#[query(response = i64, error = sqlx::Error)]
struct Payments;

#[query_handler]
async fn payments(_q: Payments, pool: Inject<SqlitePool>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT COUNT(*) FROM payments").fetch_one(&*pool).await
}

async fn start(file: &Path) -> Result<App, cqrs::Error> {
    let store = Store::url(format!("sqlite://{}", file.display()));
    let app = cqrs::bootstrap!().store(store).provide(Bank { declines: AtomicU32::new(1) }).await?;
    let mut unit = app.unit::<Sqlite>().await?;
    let table = "CREATE TABLE IF NOT EXISTS payments (number INTEGER PRIMARY KEY, invoice TEXT, cents INTEGER)";
    sqlx::query(table).execute(&mut **unit.tx()).await?;
    unit.commit().await?;
    Ok(app)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("payments.db");
    let app = start(&file).await?;
    let invoice = |cents| Pay { invoice: "2026-17".to_owned(), cents };

    // The client makes up a key for what the user wants, and sends it with every attempt.
    for attempt in 1..=3 {
        match app.send(invoice(995)).idempotency_key("9f2c").await {
            Ok(receipt) => println!("attempt {attempt}: receipt {}, {} cents", receipt.number, receipt.cents),
            Err(error) => println!("attempt {attempt}: {error}"),
        }
    }
    println!("payments: {}", app.query(Payments).await?);

    // The same key for something else is a mistake of the client's.
    if let Err(error) = app.send(invoice(9950)).idempotency_key("9f2c").await {
        println!("{:?}: {error}", error.kind());
    }

    // Ten clicks at once: one pays. The others are answered with its receipt, or told that it is in progress.
    let mut clicks = JoinSet::new();
    for _ in 0..10 {
        clicks.spawn(app.send(invoice(40)).idempotency_key("b41d"));
    }
    let mut receipts = BTreeSet::new();
    for click in clicks.join_all().await {
        match click {
            Ok(receipt) => drop(receipts.insert(receipt.number)),
            Err(DispatchError::InProgress { .. }) => {}
            Err(error) => println!("unexpected: {error}"),
        }
    }
    println!("ten clicks: receipts {receipts:?}, payments: {}", app.query(Payments).await?);

    // It is kept in the store, for 24 hours: another program, or the same one started again, gives the same answer.
    drop(app);
    let app = start(&file).await?;
    let receipt = app.send(invoice(995)).idempotency_key("9f2c").await?;
    println!("after a restart: receipt {}, payments: {}", receipt.number, app.query(Payments).await?);
    Ok(())
}
