//! A client that does not read: the stream waits, and what waits for it is bounded.

use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use cqrs::axum::sse;
use cqrs::prelude::*;
use futures_util::StreamExt;
use serde::Deserialize;
use tower::ServiceExt;

use crate::client::{Dropped, Served, get};
use crate::support::{Harness, Probe, bounded};

/// One item.
const SIZE: usize = 64 * 1024;

/// What the sockets and the server's buffer may hold in all, far below what a second of running ahead would make.
const MOST: usize = 24 * 1024 * 1024;

#[derive(Query, Deserialize)]
#[query(item = String)]
struct Flood;

/// Never ends by itself.
#[query_handler]
async fn flood(_q: Flood, items: &mut Items<String>, probe: Inject<Probe>) {
    let _dropped = Dropped(probe.clone());
    loop {
        probe.note("made");
        items.send("x".repeat(SIZE)).await;
    }
}

/// Waits until nothing is made any more; gives how much was.
async fn stuck(harness: &Harness) -> usize {
    harness.probe.noted("made", 1).await;
    loop {
        let before = harness.probe.count("made");
        assert!(before * SIZE < MOST, "{before} items were made for a client that reads nothing");
        tokio::time::sleep(Duration::from_millis(500)).await;
        if harness.probe.count("made") == before {
            break before;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_bounded_memory() {
    let harness = Harness::start().await;
    let served = Served::start(&harness, Router::new().route("/", on_get(sse::<Flood>()))).await;
    let mut client = served.request("GET", "/").await;
    let stuck = stuck(&harness).await;
    // It goes on once the client reads.
    client.until(&format!("id: {}\n", stuck + 2)).await;
    drop(client);
    harness.probe.noted("dropped", 1).await;
}

/// Its connection is full, and asks for nothing: the handler is not let wait for it longer than it was given.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_read_ends_with_its_time() {
    let harness = Harness::start().await;
    let flood = sse::<Flood>().timeout(Duration::from_secs(3));
    let served = Served::start(&harness, Router::new().route("/", on_get(flood))).await;
    let mut client = served.request("GET", "/").await;
    harness.probe.noted("dropped", 1).await;
    let made = harness.probe.count("made");
    let told = client.until("\"status\":504").await;
    assert!(told.contains("event: error") && !told.contains(&format!("id: {}\n", made + 1)));
    assert_eq!(harness.probe.count("made"), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_read_ends_when_the_app_stops() {
    let harness = Harness::start().await;
    let mut served = Served::start(&harness, Router::new().route("/", on_get(sse::<Flood>()))).await;
    let mut client = served.request("GET", "/").await;
    stuck(&harness).await;
    assert_eq!(harness.probe.count("dropped"), 0);
    bounded(harness.plain().shutdown()).await;
    harness.probe.noted("dropped", 1).await;
    // What is in the connection's buffers is still its client's to read, and holds nothing of the app.
    client.until("\"status\":503").await;
    drop(client);
    bounded(&mut served.task).await.unwrap().unwrap();
}

#[derive(Query, Deserialize)]
#[query(item = u8)]
struct Quiet;

#[query_handler]
async fn quiet(_q: Quiet, items: &mut Items<u8>, probe: Inject<Probe>) {
    let _dropped = Dropped(probe.clone());
    items.send(1).await;
    probe.pass("never").await;
}

/// Read to its first item and no further, without a socket: neither does the body ask for more, nor does anybody drop it.
#[tokio::test]
async fn a_body_that_nobody_polls_holds_no_handler_past_the_stop() {
    let harness = Harness::start().await;
    let router = Router::new().route("/", on_get(sse::<Quiet>())).with_state(harness.plain());
    let response = bounded(router.clone().oneshot(get("/"))).await.unwrap();
    let mut events = response.into_body().into_data_stream();
    bounded(events.next()).await.unwrap().unwrap();
    harness.plain().shutdown().await;
    harness.probe.noted("dropped", 1).await;
    let last = bounded(events.next()).await.unwrap().unwrap();
    assert!(last.starts_with(b"event: error\n"), "{last:?}");
    assert!(bounded(events.next()).await.is_none());
    // A stream that is asked for now does not begin.
    let answer = crate::client::ask(router, get("/")).await;
    assert!(answer.body.starts_with("event: error\n") && answer.body.contains("503"), "{answer:?}");
    assert_eq!(harness.probe.count("dropped"), 1);
}
