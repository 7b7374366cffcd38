//! A client that does not read: the stream waits, and what waits for it is bounded.

use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use cqrs::axum::sse;
use cqrs::prelude::*;
use serde::Deserialize;

use crate::client::{Dropped, Served};
use crate::support::{Harness, Probe};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_bounded_memory() {
    let harness = Harness::start().await;
    let served = Served::start(&harness, Router::new().route("/", on_get(sse::<Flood>()))).await;
    let mut client = served.request("GET", "/").await;
    harness.probe.noted("made", 1).await;
    let stuck = loop {
        let before = harness.probe.count("made");
        assert!(before * SIZE < MOST, "{before} items were made for a client that reads nothing");
        tokio::time::sleep(Duration::from_millis(500)).await;
        if harness.probe.count("made") == before {
            break before;
        }
    };
    // It goes on once the client reads.
    client.until(&format!("id: {}\n", stuck + 2)).await;
    drop(client);
    harness.probe.noted("dropped", 1).await;
}
