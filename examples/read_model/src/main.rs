//! Two services, two processes, two databases: `orders` writes, and tells what happened by events; `statistics` keeps a read
//! model of its own, and answers without asking `orders`. Any broker that processes share will do.
//!
//! ```sh
//! tests/services up nats && eval "$(tests/services env)"      # or a server of yours: see `compose.yaml`
//! CQRS_BROKER=$CQRS_TEST_NATS_URL cargo run -p read_model     # or $CQRS_TEST_KAFKA_URL
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::path::Path;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite, SqlitePool};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tracing_subscriber::filter::LevelFilter;

/// What the two services share, in a crate of its own where they have one each.
#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "order_placed", topic = "example_orders_of_customers", key = customer)]
struct OrderPlaced {
    customer: String,
    cents: i64,
}

// The service `orders`.

#[derive(Command)]
#[command(error = sqlx::Error)]
struct PlaceOrder {
    customer: &'static str,
    cents: i64,
}

#[command_handler]
async fn place_order(cmd: PlaceOrder, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO orders (customer, cents) VALUES (?, ?)");
    insert.bind(cmd.customer).bind(cmd.cents).execute(&mut **tx).await?;
    events.raise(OrderPlaced { customer: cmd.customer.to_owned(), cents: cmd.cents });
    Ok(())
}

/// Starts the other service, sells something, and waits until that has answered.
async fn sell(app: &App, directory: &Path) -> Result<(), cqrs::Error> {
    create(app, "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, cents INTEGER)").await?;
    let mut other = Command::new(env::current_exe()?).arg(directory).kill_on_drop(true).spawn()?;
    for (customer, cents) in [("ada", 500), ("bob", 700), ("ada", 250), ("eve", 90)] {
        app.send(PlaceOrder { customer, cents }).await?;
    }
    let status = other.wait().await?;
    if status.success() { Ok(()) } else { Err(cqrs::BoxError::from(format!("`statistics` ended: {status}")).into()) }
}

// The service `statistics`. Its database holds what its question needs, and nothing else.

#[event_handler(group = "statistics")]
async fn add(e: OrderPlaced, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    let add = "INSERT INTO customers (name, orders, cents) VALUES (?, 1, ?)
        ON CONFLICT DO UPDATE SET orders = orders + 1, cents = cents + excluded.cents";
    sqlx::query(add).bind(e.customer).bind(e.cents).execute(&mut **tx).await?;
    Ok(())
}

#[derive(Query)]
#[query(response = Vec<(String, i64, i64)>, error = sqlx::Error)]
struct BestCustomers;

#[query_handler]
async fn best_customers(_q: BestCustomers, pool: Inject<SqlitePool>) -> Result<Vec<(String, i64, i64)>, sqlx::Error> {
    sqlx::query_as("SELECT name, orders, cents FROM customers ORDER BY cents DESC").fetch_all(&*pool).await
}

async fn answer(app: &App) -> Result<(), cqrs::Error> {
    create(app, "CREATE TABLE customers (name TEXT PRIMARY KEY, orders INTEGER, cents INTEGER)").await?;
    // Until all has come that the other service has to tell.
    let all_came = |customers: Vec<(String, i64, i64)>| customers.iter().map(|(_, orders, _)| orders).sum::<i64>() == 4;
    while !all_came(app.query(BestCustomers).await?) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (name, orders, cents) in app.query(BestCustomers).await? {
        println!("{name}: {orders} orders, {cents} cents");
    }
    Ok(())
}

// What both are made of. Both services are linked into this program; which of its parts runs, each process says.

async fn app(file: &Path, part: &str) -> Result<App, cqrs::Error> {
    let start = "start servers by `tests/services up`, or by `docker compose up`";
    let help = || format!("`CQRS_BROKER` is not set: {start}, and see the first lines of this example");
    let broker = env::var("CQRS_BROKER").map_err(|_| cqrs::BoxError::from(help()))?;
    let store = Store::url(format!("sqlite://{}", file.display()));
    cqrs::bootstrap!().store(store).broker(Broker::url(broker)).run([part]).await
}

async fn create(app: &App, table: &'static str) -> Result<(), cqrs::Error> {
    let mut unit = app.unit::<Sqlite>().await?;
    sqlx::query(table).execute(&mut **unit.tx()).await?;
    unit.commit().await
}

/// Without arguments it is `orders`, and starts itself once more as `statistics`.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    let mut done = Ok(());
    if let Some(directory) = env::args_os().nth(1) {
        let app = app(&Path::new(&directory).join("statistics.db"), "group:statistics").await?;
        app.run_until(async { done = answer(&app).await }).await?;
        return done;
    }
    let directory = tempfile::tempdir()?;
    let app = app(&directory.path().join("orders.db"), "relay").await?;
    app.run_until(async { done = sell(&app, directory.path()).await }).await?;
    done
}
