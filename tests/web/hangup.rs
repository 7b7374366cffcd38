//! A client hangs up: before the commit nothing has happened, after it all of it.

use axum::Router;
use axum::routing::post;
use cqrs::axum::command;
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use serde::Deserialize;

use crate::client::{Dropped, Served};
use crate::support::{Harness, Probe, Schema, bounded, write};

#[derive(Command, Deserialize)]
#[command(error = sqlx::Error)]
struct Place {
    wait: bool,
}

#[derive(DomainEvent)]
struct Placed;

#[command_handler]
async fn place(
    cmd: Place,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    probe: Inject<Probe>,
    _schema: Inject<Schema>,
) -> Result<(), sqlx::Error> {
    let _dropped = Dropped(probe.clone());
    write(tx, "placed").await?;
    events.raise(Placed);
    probe.note("written");
    if cmd.wait {
        probe.pass("before the commit").await;
    }
    Ok(())
}

#[event_handler]
async fn placed(_e: &Placed, probe: Inject<Probe>) {
    probe.note("after the commit");
    probe.pass("after the commit").await;
    probe.note("done");
}

fn routes() -> Router<App> {
    Router::new().route("/", post(command::<Place>()))
}

fn request(body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn before_the_commit_a_client_that_hangs_up_undoes_everything() {
    let harness = Harness::start().await;
    let served = Served::start(&harness, routes()).await;
    harness.probe.close("before the commit");
    let client = served.open(request(r#"{"wait": true}"#)).await;
    harness.probe.noted("written", 1).await;
    drop(client);
    harness.probe.noted("dropped", 1).await;
    // Whoever writes next waits until it is rolled back.
    bounded(harness.unit::<Sqlite>()).await.unwrap();
    assert!(harness.rows().await.is_empty());
    assert_eq!(harness.probe.log(), ["written", "dropped"]);
    assert!(harness.events::<Placed>().is_empty());
}

#[tokio::test]
async fn after_the_commit_a_client_that_hangs_up_undoes_nothing() {
    let harness = Harness::start().await;
    let served = Served::start(&harness, routes()).await;
    harness.probe.close("after the commit");
    let client = served.open(request(r#"{"wait": false}"#)).await;
    harness.probe.noted("after the commit", 1).await;
    drop(client);
    harness.probe.open("after the commit");
    harness.probe.noted("done", 1).await;
    assert_eq!(harness.rows().await, ["placed"]);
}
