//! A saga that waits: for a payment, which another service tells of, for so long and no longer. While it waits, nothing of it runs; it is a
//! row in the store, found by the order's number when the event comes.
//!
//! `cargo run -p saga_waiting`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::{BoxError, SagaError, SagaId};
use serde::{Deserialize, Serialize};

/// Published by another service. The saga's group, named like it, consumes it.
#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "payment.received", topic = "payments", key = order)]
struct PaymentReceived {
    order: u32,
    cents: u32,
}

#[saga(name = "order", version = 1, steps = [reserve, paid, ship])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    number: u32,
    #[serde(default)]
    cents: u32,
}

#[saga_step(compensate = release)]
async fn reserve(cx: &mut Order) {
    println!("order {}: reserved, waits for its payment", cx.number);
}

#[compensation]
async fn release(cx: &mut Order) {
    println!("order {}: released", cx.number);
}

/// By the number that both have. One that comes before the order waits for it is kept.
#[saga_step(awaits = PaymentReceived, by = (number, order), timeout = "2s", compensate = none)]
async fn paid(cx: &mut Order, e: &PaymentReceived) {
    cx.cents = e.cents;
}

#[saga_step(pivot)]
async fn ship(cx: &mut Order) {
    println!("order {}: {} cents came, shipped", cx.number, cx.cents);
}

/// Stands for the other service.
#[derive(Command)]
struct Pay {
    order: u32,
    cents: u32,
}

#[command_handler]
async fn pay(cmd: Pay, events: &mut Events) {
    events.raise(PaymentReceived { order: cmd.order, cents: cmd.cents });
}

async fn start(app: &App, number: u32) -> Result<SagaId, SagaError> {
    app.saga(Order { number, cents: 0 }).id(format!("order-{number}")).start().await
}

async fn show(app: &App) -> Result<(), BoxError> {
    // Paid before it is ordered, paid in time, and not paid.
    app.send(Pay { order: 1, cents: 100 }).await?;
    let first = start(app, 1).await?;
    app.sagas().join::<Order>(first).await?;

    let second = start(app, 2).await?;
    while app.sagas().get(second.as_str()).await?.is_none_or(|(row, _)| row.is_held) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("nothing of it runs");
    app.send(Pay { order: 2, cents: 200 }).await?;
    app.sagas().join::<Order>(second).await?;

    let third = start(app, 3).await?;
    match app.sagas().join::<Order>(third).await {
        Err(SagaError::Compensated { step, source }) => println!("`{step}` failed: {source}"),
        other => println!("{other:?}"),
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let directory = tempfile::tempdir()?;
    let store = Store::url(format!("sqlite://{}", directory.path().join("orders.db").display()));
    let app = cqrs::bootstrap!().store(store).broker(Broker::url("memory:")).await?;
    let mut shown = Ok(());
    app.run_until(async { shown = show(&app).await }).await?;
    shown
}
