//! A consumer loop of your own, here over plain `rdkafka`, which hands each message to `app.receive`: by the same decoding,
//! inbox, retries and dead letters as if the app had consumed it. The loop dies before it commits an offset and reads
//! everything again; what was handled is not handled twice. What failed is stored, and the part `retries:counter` tries it
//! again, which does not consume.
//!
//! ```sh
//! tests/services up kafka && eval "$(tests/services env)"      # or a server of yours: see `compose.yaml`
//! CQRS_BROKER=$CQRS_TEST_KAFKA_URL cargo run -p own_consumer
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::time::Duration;

use cqrs::Delivery;
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message};
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "page_visited", topic = "example_visits", key = page)]
struct PageVisited {
    page: String,
}

#[event_handler(group = "counter", retry(first = "50ms"))]
async fn count(e: PageVisited, meta: &Meta, tx: &mut Tx<Sqlite>) -> Result<(), cqrs::BoxError> {
    // What fails twice is stored: the first time it is tried again at once.
    if e.page == "salt" && meta.attempt() < 3 {
        return Err("the counter is out of salt".into());
    }
    let add = "INSERT INTO visits (page, count) VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1";
    sqlx::query(add).bind(e.page).execute(&mut **tx).await?;
    Ok(())
}

/// The loop: hands in so many messages, one after the other, and commits their offsets unless it dies before.
async fn consume(app: &App, servers: &str, messages: usize, dies: bool) -> Result<(), cqrs::BoxError> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "own_consumer")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&["example_visits"])?;
    for _ in 0..messages {
        let message = consumer.recv().await?;
        // `Ok` says: handled, or stored to be tried again. From here on Kafka may forget it.
        app.receive(delivery(&message)).await?;
        if !dies {
            consumer.commit_message(&message, CommitMode::Sync)?;
        }
    }
    println!("a loop handed in {messages} messages, and {}", if dies { "died" } else { "committed their offsets" });
    Ok(())
}

/// A message as the app takes it.
fn delivery(message: &BorrowedMessage<'_>) -> Delivery {
    let mut delivery = Delivery::new(message.topic(), message.payload().unwrap_or_default());
    if let Some(key) = message.key() {
        delivery = delivery.key(String::from_utf8_lossy(key));
    }
    for header in message.headers().iter().flat_map(|headers| headers.iter()) {
        delivery = delivery.header(header.key, String::from_utf8_lossy(header.value.unwrap_or_default()));
    }
    delivery
}

async fn visit_and_consume(app: &App, servers: &str) -> Result<(), cqrs::BoxError> {
    for page in ["tea", "salt", "tea", "tea", "salt"] {
        app.publish(PageVisited { page: page.to_owned() }).await?;
    }
    while app.counts().await?.outbox > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    consume(app, servers, 3, true).await?;
    consume(app, servers, 5, false).await?;
    while app.counts().await?.work > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("what had failed was tried again");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    let directory = tempfile::tempdir()?;
    let broker = url("CQRS_BROKER")?;
    let app = cqrs::bootstrap!()
        .store(Store::url(format!("sqlite://{}", directory.path().join("visits.db").display())))
        .broker(Broker::url(broker.clone()))
        .run(["relay", "retries:counter"]) // not the group itself: its messages come from the loop
        .await?;
    let mut unit = app.unit::<Sqlite>().await?;
    sqlx::query("CREATE TABLE visits (page TEXT PRIMARY KEY, count INTEGER)").execute(&mut **unit.tx()).await?;
    unit.commit().await?;

    let mut done = Ok(());
    app.run_until(async { done = visit_and_consume(&app, broker.trim_start_matches("kafka://")).await }).await?;
    done?;

    let mut unit = app.unit::<Sqlite>().await?;
    let visits = sqlx::query_as("SELECT page, count FROM visits ORDER BY page").fetch_all(&mut **unit.tx()).await?;
    for (page, count) in visits as Vec<(String, i64)> {
        println!("{page}: {count}");
    }
    Ok(())
}

/// The URL of a server, from the environment.
fn url(variable: &str) -> Result<String, cqrs::BoxError> {
    env::var(variable).map_err(|_| {
        let start = "start servers by `tests/services up`, or by `docker compose up`";
        format!("`{variable}` is not set: {start}, and see the first lines of this example").into()
    })
}
