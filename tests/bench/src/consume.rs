//! Consumed messages with one business row each, beside a plain loop with the same transactions.
//!
//! Both take from a memory broker of their own what is published to it all at once, and write through a pool of one
//! connection with the same pragmas: a mark for each message in a table with the same key, and a row.

use std::time::Instant;

use cqrs::broker::MemoryBroker;
use cqrs::broker::driver::{Consumer, Driver, Outgoing, Settlement, Subscription};
use cqrs::prelude::*;
use cqrs::sqlx::sqlite::SqlitePoolOptions;
use cqrs::sqlx::{self, QueryBuilder, Sqlite, SqlitePool};
use cqrs::{App, BoxError, Delivery};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::{Bench, Report, Scale, or_exit, runtime};

const MESSAGES: u32 = 4_000;
const BATCH: usize = 100;

pub(crate) fn benches() -> Vec<Bench> {
    vec![
        Bench { path: "consume.sqlite", run: |path, scale| consume(path, scale, BATCH) },
        Bench { path: "consume.sqlite.each", run: |path, scale| consume(path, scale, 1) },
    ]
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "metered", topic = "meters")]
struct Metered {
    meter: u32,
}

const INSERT: &str = "INSERT INTO readings (meter) VALUES (?)";

/// One batch at a time: on SQLite only one transaction writes, and the plain loop has one.
#[event_handler(group = "meters", concurrency = 1)]
async fn read_meter(e: Metered, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    sqlx::query(INSERT).bind(e.meter).execute(&mut **tx).await.map(drop)
}

/// The body of a message, as it comes off the wire.
#[derive(Deserialize)]
struct Body {
    payload: Metered,
    event_id: Uuid,
}

fn messages(number: u32) -> Vec<Outgoing> {
    let message = |meter| {
        let id = Uuid::now_v7();
        let body = serde_json::json!({
            "payload": {"meter": meter}, "event_id": id, "event_timestamp": "2026-01-02T03:04:05Z",
            "event_name": "metered", "topic": "meters",
        });
        Outgoing { id, delivery: Delivery::new("meters", body.to_string()) }
    };
    (0..number).map(message).collect()
}

fn subscription() -> Subscription {
    Subscription { group: "meters".to_owned(), topics: vec!["meters".to_owned()], prefetch: 2 * BATCH }
}

/// An app that consumes, on a fresh file.
async fn app(broker: &MemoryBroker, batch: usize) -> Result<(App, TempDir), BoxError> {
    // What is published before the app has subscribed waits for it.
    drop(broker.subscribe(subscription()).await?);
    let directory = tempfile::tempdir()?;
    let url = format!("sqlite://{}", directory.path().join("bench.db").display());
    let app = cqrs::bootstrap!()
        .retain_middlewares(|_| false)
        .provide_arc::<dyn crate::dispatch::Counter>(std::sync::Arc::new(crate::dispatch::Atomic::default()))
        .store(Store::url(url))
        .broker(Broker::driver(broker.clone()))
        .settings(Settings::from_toml(&format!("group.meters.batch = {batch}"))?)
        .run(["group:meters"])
        .await?;
    Ok((app, directory))
}

/// The plain loop: as many messages as there are, up to a batch, in one transaction.
async fn plain_loop(mut consumer: Box<dyn Consumer>, pool: SqlitePool, batch: usize) -> Result<(), BoxError> {
    loop {
        let incoming = consumer.receive(batch).await?;
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
        let bodies: Vec<Body> = incoming
            .iter()
            .map(|incoming| serde_json::from_slice(incoming.delivery.payload()))
            .collect::<Result<_, _>>()?;
        let mut marks =
            QueryBuilder::<Sqlite>::new("INSERT INTO marks (consumer_group, handler, event_id, handled_at) ");
        marks.push_values(&bodies, |mut row, body| {
            row.push_bind("meters")
                .push_bind("bench::read_meter")
                .push_bind(body.event_id.as_bytes().to_vec())
                .push_bind(0);
        });
        marks.push(" ON CONFLICT DO NOTHING RETURNING event_id");
        let new = marks.build().persistent(batch == 1).fetch_all(&mut *tx).await?;
        assert_eq!(new.len(), bodies.len(), "nothing is delivered twice here");
        for body in bodies {
            sqlx::query(INSERT).bind(body.payload.meter).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        consumer.settle(incoming.iter().map(|incoming| (incoming.receipt, Settlement::Done)).collect()).await?;
    }
}

/// Publishes to each in turn, and waits until all of it is settled. Gives microseconds a message.
async fn measure(scale: Scale, batch: usize) -> Result<(Vec<f64>, Vec<f64>), BoxError> {
    let (ours, plain) = (MemoryBroker::new(), MemoryBroker::new());
    let (app, _directory) = app(&ours, batch).await?;
    let given = app.query(crate::tx::ThePool).await?;
    sqlx::query("CREATE TABLE readings (id INTEGER PRIMARY KEY, meter INTEGER NOT NULL)").execute(&given).await?;
    let marks = "CREATE TABLE marks (consumer_group TEXT NOT NULL, handler TEXT NOT NULL, event_id BLOB NOT NULL,
        handled_at INTEGER NOT NULL, PRIMARY KEY (consumer_group, handler, event_id)) WITHOUT ROWID";
    sqlx::query(marks).execute(&given).await?;
    let settings = (*given.connect_options()).clone();
    let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(settings).await?;
    let consumer = plain.subscribe(subscription()).await?;
    let by_hand = tokio::spawn(plain_loop(consumer, pool, batch));
    let running = tokio::spawn({
        let app = app.clone();
        async move { app.run_until(std::future::pending()).await }
    });
    let number = scale.of(MESSAGES);
    let (mut our_rounds, mut plain_rounds) = (Vec::new(), Vec::new());
    for round in 0..=scale.rounds() {
        for (broker, rounds) in [(&ours, &mut our_rounds), (&plain, &mut plain_rounds)] {
            let messages = messages(number);
            let begun = Instant::now();
            for result in broker.publish(messages).await {
                result?;
            }
            if round > 0 {
                rounds.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(number));
            }
        }
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM readings").fetch_one(&given).await?;
    let expected = 2 * i64::from(number) * i64::try_from(scale.rounds() + 1)?;
    if rows != expected {
        return Err(format!("{rows} rows, not {expected}").into());
    }
    by_hand.abort();
    app.shutdown().await;
    running.await??;
    Ok((our_rounds, plain_rounds))
}

fn consume(path: &'static str, scale: Scale, batch: usize) -> Report {
    let (ours, plain) = or_exit(runtime().block_on(measure(scale, batch)));
    Report::of_costs(path, "us", ours, plain, None)
}
