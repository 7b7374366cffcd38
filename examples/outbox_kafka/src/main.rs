//! Outbox to Kafka: an order and the event that tells of it are committed together on PostgreSQL, and published afterwards.
//! What is rolled back is never told, and Kafka need not be there for an order to be placed.
//!
//! ```sh
//! tests/services up postgres kafka && eval "$(tests/services env)"      # or servers of yours: see `compose.yaml`
//! CQRS_STORE=$CQRS_TEST_POSTGRES_URL CQRS_BROKER=$CQRS_TEST_KAFKA_URL cargo run -p outbox_kafka
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, PgPool, Postgres};
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;

#[derive(Command)]
#[command(error = sqlx::Error)]
struct PlaceOrder {
    item: &'static str,
    pieces: i32,
}

/// Kafka's key is the item: events of an item stay in order.
#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "order_placed", topic = "example_orders", key = item)]
struct OrderPlaced {
    item: String,
    pieces: i32,
}

#[command_handler]
async fn place_order(cmd: PlaceOrder, tx: &mut Tx<Postgres>, events: &mut Events) -> Result<(), sqlx::Error> {
    // A row of the outbox, written in this transaction. Nothing is sent to Kafka here.
    events.raise(OrderPlaced { item: cmd.item.to_owned(), pieces: cmd.pieces });
    let take = "UPDATE example_stock SET pieces = pieces - $1 WHERE item = $2";
    sqlx::query(take).bind(cmd.pieces).bind(cmd.item).execute(&mut **tx).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    let pool = PgPool::connect(&url("CQRS_STORE")?).await?;
    let tables = "CREATE TABLE IF NOT EXISTS example_stock (item text PRIMARY KEY, pieces int NOT NULL CHECK (pieces >= 0));
        INSERT INTO example_stock VALUES ('tea', 10), ('salt', 1) ON CONFLICT (item) DO UPDATE SET pieces = excluded.pieces";
    sqlx::raw_sql(tables).execute(&pool).await?;

    // The app's own pool. The framework's tables have a prefix, since other examples may share the database.
    let store = Store::pool(pool.clone()).prefix("outbox_kafka_");
    let app = cqrs::bootstrap!().store(store).broker(Broker::url(url("CQRS_BROKER")?)).await?;

    for (item, pieces) in [("tea", 2), ("salt", 5), ("tea", 3)] {
        match app.send(PlaceOrder { item, pieces }).await {
            Ok(()) => println!("{pieces} {item}: placed"),
            Err(_) => println!("{pieces} {item}: there is not so much; rolled back, the event too"),
        }
    }
    println!("in the outbox: {}", app.counts().await?.outbox);

    // The relay is part of `run`. A service runs until SIGTERM: `app.run().await`.
    app.run_until(async {
        while app.counts().await.is_ok_and(|counts| counts.outbox > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await?;
    println!("published, in the outbox: {}", app.counts().await?.outbox);
    let left: i32 = sqlx::query_scalar("SELECT pieces FROM example_stock WHERE item = 'tea'").fetch_one(&pool).await?;
    println!("tea in stock: {left}");
    Ok(())
}

/// The URL of a server, from the environment.
fn url(variable: &str) -> Result<String, cqrs::BoxError> {
    env::var(variable).map_err(|_| {
        let start = "start servers by `tests/services up`, or by `docker compose up`";
        format!("`{variable}` is not set: {start}, and see the first lines of this example").into()
    })
}
