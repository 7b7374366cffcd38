//! Whole apps: an outbox in SQLite, the relay, RabbitMQ, and the handlers of another app with its inbox.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use cqrs::{App, BoxError, Broker, Store};
use cqrs_tests::rabbit::RabbitServer;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::support::bounded;

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "booked", topic = "bookings", key = account)]
struct Booked {
    account: String,
    number: i64,
}

#[event_handler(group = "ledger", concurrency = 8)]
async fn enter(e: Booked, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO entries (account, number) VALUES (?, ?)");
    insert.bind(e.account).bind(e.number).execute(&mut **tx).await?;
    Ok(())
}

#[derive(Command)]
struct Book {
    first: i64,
    count: i64,
}

/// Books on ten accounts, in one transaction.
#[command_handler]
async fn book(Book { first, count }: Book, _tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    for number in first..first + count {
        for account in 0..10 {
            events.raise(Booked { account: format!("account {account}"), number });
        }
    }
    Ok(())
}

#[derive(Command)]
struct OpenLedger;

#[command_handler]
async fn open_ledger(_: OpenLedger, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    let create =
        "CREATE TABLE entries (at INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, number INTEGER NOT NULL)";
    sqlx::query(create).execute(&mut **tx).await?;
    Ok(())
}

#[derive(Command)]
#[command(response = Vec<(String, i64)>, error = sqlx::Error)]
struct ReadLedger;

#[command_handler]
async fn read_ledger(_: ReadLedger, tx: &mut Tx<Sqlite>) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as("SELECT account, number FROM entries ORDER BY at").fetch_all(&mut **tx).await
}

/// An app that runs some of its parts.
struct Running {
    app: App,
    stop: Arc<Notify>,
    task: JoinHandle<Result<(), cqrs::Error>>,
}

impl Running {
    async fn start(file: &Path, url: &str, parts: &[&'static str]) -> Self {
        let builder = cqrs::bootstrap!().store(Store::url(format!("sqlite://{}", file.display())));
        let app = builder.broker(Broker::url(url)).run(parts.to_vec()).await.expect("a sound app");
        let stop = Arc::new(Notify::new());
        let (running, stopped) = (app.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move { running.run_until(stopped.notified()).await });
        Self { app, stop, task }
    }

    async fn end(self) {
        self.stop.notify_one();
        self.task.await.expect("no panic").expect("a sound run");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_g9_g10_what_one_app_raises_another_handles_once_and_in_order_over_a_restart_of_the_server() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let (sends, handles) = (directory.path().join("sends.db"), directory.path().join("handles.db"));
        let mut server = RabbitServer::start();
        let sender = Running::start(&sends, &server.url(), &["relay"]).await;
        // Nobody has subscribed yet: what is raised waits in the outbox.
        sender.app.send(Book { first: 0, count: 20 }).await.unwrap();
        let first = Running::start(&handles, &server.url(), &["group:ledger", "work"]).await;
        first.app.send(OpenLedger).await.unwrap();
        sender.app.send(Book { first: 20, count: 20 }).await.unwrap();
        let second = Running::start(&handles, &server.url(), &["group:ledger", "work"]).await;
        sender.app.send(Book { first: 40, count: 20 }).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        tokio::task::block_in_place(|| server.end());
        sender.app.send(Book { first: 60, count: 20 }).await.unwrap();
        // A member that stops while the server is down hands back what it has not handled.
        first.end().await;
        tokio::task::block_in_place(|| server.start_again());
        sender.app.send(Book { first: 80, count: 20 }).await.unwrap();
        let entries = loop {
            let entries = second.app.send(ReadLedger).await.unwrap();
            if entries.len() >= 1000 {
                break entries;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        // Time for whatever would come twice.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(second.app.send(ReadLedger).await.unwrap().len(), 1000);
        for account in 0..10 {
            let account = format!("account {account}");
            let numbers: Vec<_> = entries.iter().filter(|(of, _)| *of == account).map(|(_, number)| *number).collect();
            assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "of {account}");
        }
        second.end().await;
        sender.end().await;
    })
    .await;
}
