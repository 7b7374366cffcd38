//! A saga that waits while its service is deployed anew. The new program has version 2 of it, with an amount in place of a number of items, and
//! a step more: it takes over what is stored of version 1, and goes on where that stood.
//!
//! Both programs are in this one: `yesterday` is what the service was. Once nothing starts version 1 any more, it can do without its steps:
//! `#[saga(name = "order", version = 1, retired)]`.
//!
//! `cargo run -p saga_versions`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use cqrs::BoxError;
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "payment.received", topic = "payments", key = order)]
struct PaymentReceived {
    order: u32,
}

mod yesterday {
    use super::{Deserialize, PaymentReceived, Serialize};
    use cqrs::prelude::*;

    #[saga(name = "order", version = 1, steps = [reserve, paid])]
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(super) struct OrderV1 {
        pub(super) number: u32,
        pub(super) items: u32,
    }

    #[saga_step(compensate = none)]
    async fn reserve(cx: &mut OrderV1) {
        println!("order {}: version 1 has reserved {} items", cx.number, cx.items);
    }

    #[saga_step(awaits = PaymentReceived, by = (number, order), compensate = none)]
    async fn paid(cx: &mut OrderV1, _event: &PaymentReceived) {
        println!("order {}: version 1 has been paid", cx.number);
    }
}

#[saga(name = "order", version = 2, migrates = yesterday::OrderV1, steps = [reserve, paid, ship])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    number: u32,
    cents: u32,
}

impl From<yesterday::OrderV1> for Order {
    fn from(old: yesterday::OrderV1) -> Self {
        Self { number: old.number, cents: old.items * 250 }
    }
}

#[saga_step(compensate = none)]
async fn reserve(cx: &mut Order) {
    println!("order {}: version 2 has reserved for {} cents", cx.number, cx.cents);
}

#[saga_step(awaits = PaymentReceived, by = (number, order), compensate = none)]
async fn paid(cx: &mut Order, _event: &PaymentReceived) {
    println!("order {}: version 2 has been paid", cx.number);
}

#[saga_step(pivot)]
async fn ship(cx: &mut Order) {
    println!("order {}: version 2 has shipped for {} cents", cx.number, cx.cents);
}

#[derive(Command)]
struct Pay {
    order: u32,
}

#[command_handler]
async fn pay(cmd: Pay, events: &mut Events) {
    events.raise(PaymentReceived { order: cmd.order });
}

async fn show(app: &App) -> Result<(), BoxError> {
    let id = app.saga(yesterday::OrderV1 { number: 7, items: 3 }).id("order-7").start().await?;
    while app.sagas().get(id.as_str()).await?.is_none_or(|(row, _)| row.is_held) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Before the new program takes over: is there anything that it could not go on with?
    println!("{}", app.preflight().await?);
    app.send(Pay { order: 7 }).await?;
    let order = app.sagas().join::<Order>(id.as_str()).await?;
    let row = app.sagas().get(id).await?.map(|(row, _)| row);
    println!("ended as version {}: {order:?}", row.map_or(0, |row| row.version));
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
