//! An order as a saga: what it does is undone in reverse order where a step fails, up to the pivot; from there on it only goes
//! forward. Its rows commit with its progress, so that each step happens once, whatever becomes of the process.
//!
//! `cargo run -p saga`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use cqrs::{BoxError, SagaError};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

/// What its steps know and change: stored between them.
#[saga(name = "order", version = 1, steps = [reserve, charge, (print_label, thank), hand_over])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    number: u32,
    pieces: u32,
    #[serde(default)]
    paid_by: Option<String>,
    #[serde(default)]
    label: Option<String>,
}

/// Its row and the progress of the saga are one transaction.
#[saga_step(compensate = release)]
async fn reserve(cx: &mut Order, tx: &mut Tx<Sqlite>) -> Result<(), BoxError> {
    let taken = sqlx::query("UPDATE stock SET pieces = pieces - ? WHERE pieces >= ?");
    let taken = taken.bind(cx.pieces).bind(cx.pieces).execute(&mut **tx).await?;
    if taken.rows_affected() == 0 { Err("there are not so many".into()) } else { Ok(()) }
}

#[compensation]
async fn release(cx: &mut Order, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    println!("  {} pieces go back", cx.pieces);
    sqlx::query("UPDATE stock SET pieces = pieces + ?").bind(cx.pieces).execute(&mut **tx).await?;
    Ok(())
}

/// The bank is another system: the key is the same however often the step is called, so that it charges once.
#[saga_step(compensate = refund, timeout = "5s", fallback = charge_elsewhere, breaker(failures = 3, open_for = "60s"))]
async fn charge(cx: &mut Order, key: StepKey) -> Result<(), BoxError> {
    cx.paid_by = Some(format!("the bank ({})", key.as_str()));
    if cx.number == 2 { Err("the bank is closed".into()) } else { Ok(()) }
}

/// Sees the order as it was before the step that failed.
#[fallback]
async fn charge_elsewhere(cx: &mut Order, cause: Cause<BoxError>) -> Result<(), BoxError> {
    println!("  {cause}: {:?} before the fallback", cx.paid_by);
    cx.paid_by = Some("card".to_owned());
    Ok(())
}

#[compensation]
async fn refund(cx: &mut Order, key: StepKey) {
    println!("  what {} paid is given back", key.of_step());
    cx.paid_by = None;
}

/// Side by side with the next: what it returns is applied when both have ended.
#[saga_step(compensate = none)]
async fn print_label(cx: &Order) -> Label {
    Label(format!("order {}", cx.number))
}

#[derive(Serialize, Deserialize)]
struct Label(String);

impl Apply<Label> for Order {
    fn apply(&mut self, Label(text): Label) {
        self.label = Some(text);
    }
}

#[saga_step(compensate = none)]
async fn thank(_cx: &Order) {}

/// There is no way back from here.
#[saga_step(pivot)]
async fn hand_over(cx: &mut Order) -> Result<(), BoxError> {
    if cx.number == 3 { Err("the carrier is on strike".into()) } else { Ok(()) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let directory = tempfile::tempdir()?;
    let store = Store::url(format!("sqlite://{}", directory.path().join("orders.db").display()));
    let app = cqrs::bootstrap!().store(store).await?;
    let mut unit = app.unit::<Sqlite>().await?;
    sqlx::query("CREATE TABLE stock (pieces INTEGER)").execute(&mut **unit.tx()).await?;
    sqlx::query("INSERT INTO stock VALUES (10)").execute(&mut **unit.tx()).await?;
    unit.commit().await?;

    let order = |number, pieces| Order { number, pieces, paid_by: None, label: None };
    for (number, pieces) in [(1, 3), (2, 3), (3, 3), (4, 9)] {
        println!("order {number}:");
        // The id is whatever makes it one: started again, it is joined, not begun anew.
        match app.saga(order(number, pieces)).id(format!("order-{number}")).await {
            Ok(Order { paid_by, label, .. }) => {
                println!("  paid by {}, label: {}", paid_by.unwrap_or_default(), label.unwrap_or_default());
            }
            Err(SagaError::Compensated { step, source }) => println!("  undone, since `{step}` failed: {source}"),
            Err(error) => return Err(error.into()),
        }
        println!("  {} pieces are left", left(&app).await?);
    }

    let mut steps = app.saga(order(5, 1)).steps();
    let mut ended = Vec::new();
    while let Some(step) = steps.next().await {
        ended.push(step?.name().to_owned());
    }
    ended[2..4].sort();
    println!("order 5, step by step: {}", ended.join(", "));

    let history = app.sagas().history("order-3").await?;
    let lines = history.iter().map(|entry| format!("{}{}", if entry.is_undo { "undo " } else { "" }, entry.step));
    let (forward, back): (Vec<_>, Vec<_>) = lines.partition(|line| !line.starts_with("undo"));
    println!("order 3 went forward {} steps, and back: {}", forward.len(), back.join(", "));
    app.shutdown().await;
    Ok(())
}

async fn left(app: &App) -> Result<u32, cqrs::Error> {
    let mut unit = app.unit::<Sqlite>().await?;
    Ok(sqlx::query_scalar("SELECT pieces FROM stock").fetch_one(&mut **unit.tx()).await?)
}
