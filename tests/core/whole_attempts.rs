//! Middleware is around the whole attempt at stored and consumed work, the commit included.

use std::sync::Arc;
use std::time::Duration;

use cqrs::broker::MemoryBroker;
use cqrs::prelude::*;
use cqrs::sqlx::sqlite::SqliteConnectOptions;
use cqrs::sqlx::{self, ConnectOptions, Connection, Sqlite};
use cqrs::testing::TestApp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{Probe, bounded, message, publish, with_middleware, write};

/// Notes how each call ended as it sees it.
#[middleware(order = 60, kinds = [command, event])]
async fn sees_the_end(call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
    let outcome = next.run().await;
    let end = outcome.error().map_or_else(|| "ok".to_owned(), |_| "failed".to_owned());
    probe.note(format!("{} {end}", call.name()));
    if probe.try_it("turn down afterwards").is_err() { Outcome::reject("too late") } else { outcome }
}

/// Writes what only the commit refuses, where the test asks for it.
async fn write_in_debt(tx: &mut Tx<Sqlite>, probe: &Probe, text: &str) -> Result<(), sqlx::Error> {
    write(tx, text).await?;
    if probe.try_it(text).is_err() {
        sqlx::query("INSERT INTO debts (note) VALUES (-1)").execute(&mut **tx).await?;
    }
    Ok(())
}

#[derive(DomainEvent, Serialize, Deserialize)]
#[event(name = "whole.durable")]
struct Durable;

#[event_handler(durable, retry(max = 3, first = "1s"))]
async fn whole_durable(_e: &Durable, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), sqlx::Error> {
    write_in_debt(tx, &probe, "durable").await
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "whole.consumed", topic = "whole", key = key)]
struct Consumed {
    key: String,
}

#[event_handler(group = "whole", retry(max = 3, first = "1s"))]
async fn whole_consumed(_e: Consumed, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), sqlx::Error> {
    write_in_debt(tx, &probe, "consumed").await
}

#[derive(Command, Serialize, Deserialize)]
#[command(error = sqlx::Error, name = "whole.sent")]
struct Sent;

#[command_handler]
async fn whole_sent(_cmd: Sent, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), sqlx::Error> {
    write_in_debt(tx, &probe, "sent").await
}

#[derive(DomainEvent)]
struct SendIt;

#[event_handler]
async fn send_it(_e: &SendIt, events: &mut Events) {
    events.send(Sent);
}

async fn start() -> (TestApp, Arc<Probe>) {
    let probe = Arc::new(Probe::default());
    let builder = with_middleware(&probe).retain_middlewares(|name| name == "sees_the_end");
    let app = TestApp::new(builder).await.unwrap();
    let table = "CREATE TABLE debts (note INTEGER REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED)";
    sqlx::query(table).execute(&probe.pool()).await.unwrap();
    (app, probe)
}

/// What the middleware saw of one message, over a first attempt whose commit fails and a second one.
async fn over_two_attempts(app: &TestApp, probe: &Probe, name: &str) -> Vec<String> {
    app.settle().await;
    app.advance(Duration::from_secs(3600)).await;
    app.settle().await;
    probe.log().into_iter().filter(|noted| noted.starts_with(name)).collect()
}

#[tokio::test]
async fn a_middleware_sees_that_the_commit_of_stored_work_fails() {
    bounded(async {
        let (app, probe) = start().await;
        for what in ["durable", "consumed", "sent"] {
            probe.fail(what, 1);
        }
        app.publish(Durable).await.unwrap();
        app.publish(Consumed { key: "k".to_owned() }).await.unwrap();
        app.publish(SendIt).await.unwrap();
        for name in ["whole.durable", "whole.consumed", "whole.sent"] {
            let seen = over_two_attempts(&app, &probe, name).await;
            assert_eq!(seen, [format!("{name} failed"), format!("{name} ok")], "{:?}", app.dead_letters(9).await);
        }
        let mut rows = probe.rows().await;
        rows.sort();
        assert_eq!(rows, ["consumed", "durable", "sent"]);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_waits_for_its_key_passes_no_middleware() {
    bounded(async {
        let (app, probe) = start().await;
        probe.fail("consumed", 2);
        app.publish(Consumed { key: "k".to_owned() }).await.unwrap();
        app.settle().await;
        app.publish(Consumed { key: "k".to_owned() }).await.unwrap();
        app.settle().await;
        assert_eq!(probe.log(), ["whole.consumed failed"; 2], "the second attempt followed at once");
        app.advance(Duration::from_secs(3600)).await;
        app.settle().await;
        assert_eq!(probe.log()[2..], ["whole.consumed ok", "whole.consumed ok"]);
    })
    .await;
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "whole.read", topic = "whole.read", key = key)]
struct Read {
    key: String,
}

#[event_handler(group = "whole.read")]
async fn reads(_e: Read, probe: Inject<Probe>) {
    probe.note("reads");
    probe.pass("reads").await;
}

/// What has to be known before a handler begins is asked of a reader: a consumed message writes once, at its end.
#[tokio::test]
async fn a_consumed_message_is_handed_over_while_somebody_else_writes() {
    bounded(async {
        let (probe, broker) = (Arc::new(Probe::default()), MemoryBroker::new());
        let builder = with_middleware(&probe).retain_middlewares(|name| name == "sees_the_end");
        let app = TestApp::new(builder.broker(Broker::driver(broker.clone()))).await.unwrap();
        probe.close("reads");
        let read = |id| message("whole.read", "whole.read", id, &serde_json::json!({"key": "k"}));
        let settings = SqliteConnectOptions::new().filename(app.directory().join("test.db"));
        let mut other = settings.connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let id = Uuid::now_v7();
        let delivered = tokio::spawn({
            let (broker, delivery) = (broker.clone(), read(id));
            async move { publish(&broker, id, delivery).await }
        });
        probe.arrived("reads").await;
        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        other.close().await.unwrap();
        probe.open("reads");
        delivered.await.unwrap();
        // Delivered again, it passes neither handler nor middleware.
        publish(&broker, Uuid::now_v7(), read(id)).await;
        assert_eq!(probe.log(), ["reads", "whole.read ok"]);
        assert_eq!(app.counts().await.unwrap().inbox, 1);
    })
    .await;
}

#[tokio::test]
async fn what_a_middleware_turns_down_after_the_commit_is_not_done_again() {
    bounded(async {
        let (app, probe) = start().await;
        probe.fail("turn down afterwards", 1);
        app.publish(Durable).await.unwrap();
        let seen = over_two_attempts(&app, &probe, "whole.durable").await;
        assert_eq!((seen, probe.rows().await), (vec!["whole.durable ok".to_owned()], vec!["durable".to_owned()]));
        assert_eq!((app.counts().await.unwrap().work, app.counts().await.unwrap().dead), (0, 0));
    })
    .await;
}
