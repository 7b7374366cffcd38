//! axum and the app stop together.

use axum::Router;
use axum::routing::{get as on_get, post};
use cqrs::axum::{command, sse};
use cqrs::prelude::*;
use serde::Deserialize;

use crate::client::{Dropped, Served};
use crate::support::{Harness, Probe, bounded};

#[derive(Query, Deserialize)]
#[query(item = u8)]
struct Feed;

/// A live feed: its next item may never come.
#[query_handler]
async fn feed(_q: Feed, items: &mut Items<u8>, probe: Inject<Probe>) {
    let _dropped = Dropped(probe.clone());
    items.send(1).await;
    probe.note("waiting");
    std::future::pending::<()>().await;
}

#[derive(Command, Deserialize)]
#[command(response = &'static str)]
struct Slow;

#[command_handler]
async fn slow(_cmd: Slow, probe: Inject<Probe>) -> &'static str {
    probe.note("begun");
    probe.pass("slow").await;
    "finished"
}

fn routes() -> Router<App> {
    Router::new().route("/feed", on_get(sse::<Feed>())).route("/slow", post(command::<Slow>()))
}

#[tokio::test]
async fn open_streams_do_not_hold_the_stop_and_say_why_they_end() {
    let harness = Harness::start().await;
    let mut served = Served::start(&harness, routes()).await;
    let mut client = served.request("GET", "/feed").await;
    client.until("event: item").await;
    harness.probe.noted("waiting", 1).await;

    bounded(harness.plain().shutdown()).await;
    bounded(&mut served.task).await.unwrap().unwrap();
    assert_eq!(harness.probe.count("dropped"), 1);
    let received = client.rest().await;
    let (_, last) = received.split_once("event: error\ndata: ").unwrap_or_else(|| panic!("{received}"));
    assert!(last.contains(r#""status":503"#) && !received.contains("event: end"), "{received}");
}

/// A request that has begun is answered.
#[tokio::test]
async fn a_request_that_has_begun_is_finished() {
    let harness = Harness::start().await;
    let mut served = Served::start(&harness, routes()).await;
    harness.probe.close("slow");
    let mut client = served.request("POST", "/slow").await;
    harness.probe.noted("begun", 1).await;

    let stopping = tokio::spawn({
        let app = harness.plain();
        async move { app.shutdown().await }
    });
    bounded(harness.plain().stopping()).await;
    harness.probe.open("slow");
    assert!(client.until("finished").await.starts_with("HTTP/1.1 200 "));
    bounded(&mut served.task).await.unwrap().unwrap();
    bounded(stopping).await.unwrap();
}
