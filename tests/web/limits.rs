//! How large a body may be.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::routing::post;
use cqrs::axum::{Endpoint, command};
use cqrs::prelude::*;
use futures_util::stream;
use serde::Deserialize;

use crate::client::{Answer, Served, json};
use crate::support::Harness;

#[derive(Command, Deserialize)]
#[command(response = usize)]
struct Measure {
    text: String,
}

#[command_handler]
async fn measure(cmd: Measure) -> usize {
    cmd.text.len()
}

fn route(endpoint: Endpoint<Measure>) -> Router<App> {
    Router::new().route("/", post(endpoint))
}

/// A body of so many bytes in all.
fn body(bytes: usize) -> String {
    let frame = r#"{"text":""}"#.len();
    format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes - frame))
}

async fn sent(harness: &Harness, endpoint: Endpoint<Measure>, body: impl Into<Body>) -> Answer {
    harness.ask(route(endpoint), json("POST", "/", body)).await
}

fn assert_too_large(answer: &Answer, limit: usize) {
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.detail(), format!("the body is over the limit of {limit} bytes"));
}

#[tokio::test]
async fn the_limit_is_the_apps_unless_the_endpoint_has_its_own() {
    let harness = Harness::start().await;
    let mebibyte = 1024 * 1024;
    assert_eq!(sent(&harness, command(), body(mebibyte)).await.status, StatusCode::OK);
    assert_too_large(&sent(&harness, command(), body(mebibyte + 1)).await, mebibyte);
    assert_eq!(sent(&harness, command().body_limit(100), body(100)).await.status, StatusCode::OK);
    assert_too_large(&sent(&harness, command().body_limit(100), body(101)).await, 100);
    assert_eq!(sent(&harness, command().body_limit(3 * mebibyte), body(2 * mebibyte + 1)).await.status, StatusCode::OK);

    let small = Harness::with(|builder| builder.payload_limit(50)).await;
    assert_too_large(&sent(&small, command(), body(51)).await, 50);
}

/// A body without an announced length is read up to the limit, and no further.
#[tokio::test]
async fn a_body_without_an_end_is_cut() {
    let harness = Harness::start().await;
    let chunks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&chunks);
    let endless = stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from_static(&[b' '; 1000]))
    });
    let answer = sent(&harness, command().body_limit(10_000), Body::from_stream(endless)).await;
    assert_too_large(&answer, 10_000);
    assert_eq!(chunks.load(Ordering::Relaxed), 11);
}

/// A client that announces too much is told at once, whether it sends anything or not.
#[tokio::test]
async fn what_is_announced_as_too_large_is_not_read() {
    let harness = Harness::start().await;
    let served = Served::start(&harness, route(command().body_limit(10_000))).await;
    let head =
        "POST / HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ncontent-length: 999999999999\r\n\r\n";
    let mut client = served.open(head).await;
    let answer = client.until("over the limit").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// The connection breaks off in the middle of a body: nothing is run, and the service goes on.
#[tokio::test]
async fn a_body_that_breaks_off_runs_nothing() {
    let harness = Harness::start().await;
    let served = Served::start(&harness, route(command())).await;
    let head =
        "POST / HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"text\":";
    drop(served.open(head).await);
    let whole = "POST / HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"text\":\"tea\"}";
    let mut client = served.open(whole).await;
    assert!(client.until("\r\n\r\n3").await.starts_with("HTTP/1.1 200 "));
}
