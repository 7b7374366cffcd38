//! NATS JetStream keeps what was published: a group that comes later gets everything from the beginning, in order for each
//! key. So a new report over old sales needs no more than a new handler.
//!
//! ```sh
//! tests/services up nats && eval "$(tests/services env)"      # or a server of yours: see `compose.yaml`
//! CQRS_BROKER=$CQRS_TEST_NATS_URL cargo run -p nats
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::path::Path;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;

/// The topic is a stream, with a subject for each part of the keys.
#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "sold", topic = "example_sales", key = item)]
struct Sold {
    item: String,
    pieces: i64,
}

#[event_handler(group = "stock")]
async fn take(e: &Sold, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    let take = "UPDATE stock SET pieces = pieces - ? WHERE item = ?";
    sqlx::query(take).bind(e.pieces).bind(&e.item).execute(&mut **tx).await?;
    Ok(())
}

/// Was written later: see `main`.
#[event_handler(group = "report")]
async fn report(e: &Sold, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO report (item, pieces) VALUES (?, ?)";
    sqlx::query(insert).bind(&e.item).bind(e.pieces).execute(&mut **tx).await?;
    Ok(())
}

/// An instance of the service that runs some of its parts.
async fn instance(directory: &Path, parts: &[&str]) -> Result<App, cqrs::Error> {
    cqrs::bootstrap!()
        .store(Store::url(format!("sqlite://{}", directory.join("sales.db").display())))
        // Of streams that are made here: after 30 days a message is deleted, whoever has read it.
        .broker(Broker::url(url("CQRS_BROKER")?).property("max_age", "30d"))
        .run(parts.iter().copied())
        .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    let directory = tempfile::tempdir()?;
    let mut done = Ok(());
    let first = instance(directory.path(), &["relay", "group:stock"]).await?;
    first.run_until(async { done = sell(&first).await }).await?;
    done?;

    let mut done = Ok(());
    let later = instance(directory.path(), &["group:report"]).await?;
    later.run_until(async { done = read_report(&later).await }).await?;
    done
}

async fn sell(app: &App) -> Result<(), cqrs::Error> {
    let mut unit = app.unit::<Sqlite>().await?;
    let (tx, events) = unit.parts();
    let tables = "CREATE TABLE stock (item TEXT, pieces INTEGER); CREATE TABLE report (item TEXT, pieces INTEGER);
        INSERT INTO stock VALUES ('salt', 100), ('tea', 100)";
    sqlx::raw_sql(tables).execute(&mut **tx).await?;
    for (item, pieces) in [("tea", 1), ("salt", 10), ("tea", 2), ("tea", 3)] {
        events.raise(Sold { item: item.to_owned(), pieces });
    }
    unit.commit().await?;
    while rows(app, "SELECT item, pieces FROM stock").await?.iter().map(|(_, pieces)| pieces).sum::<i64>() > 200 - 16 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("sold, and taken from the stock; nobody reads the report yet");
    Ok(())
}

async fn read_report(app: &App) -> Result<(), cqrs::Error> {
    let report = "SELECT item, pieces FROM report ORDER BY item, rowid";
    while rows(app, report).await?.len() < 4 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (item, pieces) in rows(app, report).await? {
        println!("report: {pieces} {item}");
    }
    Ok(())
}

async fn rows(app: &App, select: &'static str) -> Result<Vec<(String, i64)>, cqrs::Error> {
    let mut unit = app.unit::<Sqlite>().await?;
    Ok(sqlx::query_as(select).fetch_all(&mut **unit.tx()).await?)
}

/// The URL of a server, from the environment.
fn url(variable: &str) -> Result<String, cqrs::BoxError> {
    env::var(variable).map_err(|_| {
        let start = "start servers by `tests/services up`, or by `docker compose up`";
        format!("`{variable}` is not set: {start}, and see the first lines of this example").into()
    })
}
