//! RabbitMQ: parcels leave a warehouse in order for each customer. A message that fails is tried again by the store, with
//! pauses that grow; the later ones of its key wait for it, all others pass, and no queue is blocked.
//!
//! ```sh
//! tests/services up amqp && eval "$(tests/services env)"      # or a server of yours: see `compose.yaml`
//! CQRS_BROKER=$CQRS_TEST_AMQP_URL cargo run -p amqp
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::num::NonZeroU16;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;

/// The topic is an exchange. Each group has queues behind it, and a key always the same of them.
#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "parcel_packed", topic = "example_parcels", key = customer)]
struct ParcelPacked {
    customer: String,
    number: u32,
}

/// Fails with the first parcel of ada, at the first attempt and until those of bob have left.
#[event_handler(group = "shipping", retry(max = 20, first = "200ms", ceiling = "1s"))]
async fn ship(e: ParcelPacked, meta: &Meta, tx: &mut Tx<Sqlite>) -> Result<(), cqrs::BoxError> {
    let bobs = sqlx::query_scalar("SELECT count(*) FROM shipped WHERE customer = 'bob'").fetch_one(&mut **tx);
    let bobs: u32 = bobs.await?;
    if e.customer == "ada" && (meta.attempt() == 1 && e.number == 1 || bobs < 2) {
        return Err("no driver for ada's street".into());
    }
    let insert = sqlx::query("INSERT INTO shipped (customer, number, retried) VALUES (?, ?, ?)");
    insert.bind(e.customer).bind(e.number).bind(meta.attempt() > 1).execute(&mut **tx).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    let directory = tempfile::tempdir()?;
    let broker = Broker::url(url("CQRS_BROKER")?)
        // A group's queues for a topic, and so how many members may share it. Everybody has to say the same.
        .partitions(NonZeroU16::new(4).unwrap_or(NonZeroU16::MIN))
        // What is missing is made at the first use; with `Check` or `Leave` somebody else sees to it.
        .declare(cqrs::Declare::Create);
    let app = cqrs::bootstrap!()
        .store(Store::url(format!("sqlite://{}", directory.path().join("parcels.db").display())))
        .broker(broker)
        .await?;

    let mut done = Ok(());
    app.run_until(async { done = pack_and_ship(&app).await }).await?;
    done
}

async fn pack_and_ship(app: &App) -> Result<(), cqrs::Error> {
    let mut unit = app.unit::<Sqlite>().await?;
    let (tx, events) = unit.parts();
    sqlx::query("CREATE TABLE shipped (customer TEXT, number INTEGER, retried BOOLEAN)").execute(&mut **tx).await?;
    for (customer, number) in [("ada", 1), ("ada", 2), ("bob", 1), ("ada", 3), ("bob", 2)] {
        events.raise(ParcelPacked { customer: customer.to_owned(), number });
    }
    unit.commit().await?;
    while shipped(app).await?.len() < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (customer, number, retried) in shipped(app).await? {
        println!("shipped: parcel {number} for {customer}{}", if retried { ", after a retry" } else { "" });
    }
    Ok(())
}

/// What left, in order.
async fn shipped(app: &App) -> Result<Vec<(String, u32, bool)>, cqrs::Error> {
    let mut unit = app.unit::<Sqlite>().await?;
    let select = sqlx::query_as("SELECT customer, number, retried FROM shipped ORDER BY rowid");
    Ok(select.fetch_all(&mut **unit.tx()).await?)
}

/// The URL of a server, from the environment.
fn url(variable: &str) -> Result<String, cqrs::BoxError> {
    env::var(variable).map_err(|_| {
        let start = "start servers by `tests/services up`, or by `docker compose up`";
        format!("`{variable}` is not set: {start}, and see the first lines of this example").into()
    })
}
