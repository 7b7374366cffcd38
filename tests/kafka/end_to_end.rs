//! From an outbox over Kafka to a handler with an inbox, in two apps that are killed now and then.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use cqrs_tests::kafka::KafkaServer;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

const KEYS: u32 = 20;
const EACH: u32 = 50;

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "stepped", topic = "steps", key = walker)]
struct Stepped {
    walker: u32,
    step: u32,
}

#[event_handler(group = "diary", concurrency = 1)]
async fn write_down(e: Stepped, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO diary (walker, step) VALUES (?, ?)")
        .bind(e.walker)
        .bind(e.step)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn app(file: &Path, url: &str, parts: &[&str]) -> App {
    cqrs::bootstrap!()
        .store(Store::url(format!("sqlite://{}", file.display())))
        .broker(Broker::url(url.to_owned()))
        .lease(Duration::from_secs(1))
        .run(parts.iter().copied())
        .await
        .expect("an app")
}

/// An app on a runtime of its own, so that it can be killed as a process is: nothing of it gets to do anything any more.
struct Running(Option<Runtime>);

impl Running {
    fn start(file: &Path, url: &str, part: &'static str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (file, url) = (file.to_owned(), url.to_owned());
        runtime.spawn(async move {
            let app = app(&file, &url, &[part]).await;
            let _ = app.run_until(std::future::pending()).await;
        });
        Self(Some(runtime))
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_events_over_kafka_none_lost_none_doubled_in_order() {
    let server = KafkaServer::start();
    let (url, directory) = (server.url(), tempfile::tempdir().expect("a directory"));
    let (outbox, diary) = (directory.path().join("outbox.db"), directory.path().join("diary.db"));
    let raising = app(&outbox, &url, &[]).await;
    let reading = app(&diary, &url, &[]).await;
    let mut unit = reading.unit::<Sqlite>().await.expect("a unit");
    let table =
        "CREATE TABLE diary (id INTEGER PRIMARY KEY AUTOINCREMENT, walker INTEGER NOT NULL, step INTEGER NOT NULL)";
    sqlx::query(table).execute(&mut **unit.tx()).await.expect("a table");
    unit.commit().await.expect("a commit");

    let mut relays = [Running::start(&outbox, &url, "relay"), Running::start(&outbox, &url, "relay")];
    let mut consumers = [Running::start(&diary, &url, "group:diary"), Running::start(&diary, &url, "group:diary")];
    for step in 0..EACH {
        let mut unit = raising.unit::<Sqlite>().await.expect("a unit");
        for walker in 0..KEYS {
            unit.events().raise(Stepped { walker, step });
        }
        unit.commit().await.expect("a commit");
        if step % 10 == 5 {
            let which = (step as usize / 10) % 2;
            relays[which].kill();
            relays[which] = Running::start(&outbox, &url, "relay");
            consumers[which].kill();
            consumers[which] = Running::start(&diary, &url, "group:diary");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rows = async || {
        let mut unit = reading.unit::<Sqlite>().await.expect("a unit");
        let rows: Vec<(u32, u32)> = sqlx::query_as("SELECT walker, step FROM diary ORDER BY id")
            .fetch_all(&mut **unit.tx())
            .await
            .expect("rows");
        rows
    };
    let whole = tokio::time::timeout(Duration::from_mins(2), async {
        while rows().await.len() < (KEYS * EACH) as usize {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let in_time = whole.await.is_ok();
    // What would be doubled has time to come.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let rows = rows().await;
    assert!(in_time, "{} of {} events were handled", rows.len(), KEYS * EACH);
    assert_eq!(rows.len(), (KEYS * EACH) as usize, "each once");
    let mut due = BTreeMap::<u32, u32>::new();
    for (walker, step) in rows {
        let due = due.entry(walker).or_default();
        assert_eq!(step, *due, "the steps of {walker} are out of order");
        *due += 1;
    }
}
