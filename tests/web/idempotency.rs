//! The `Idempotency-Key` header.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::routing::{any, post};
use cqrs::axum::{command, query, sse};
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use serde::{Deserialize, Serialize};

use crate::client::{Answer, json};
use crate::support::{Harness, Probe, Schema, write};

#[derive(Command, Serialize, Deserialize)]
#[command(response = usize, error = sqlx::Error)]
struct Charge {
    cents: u32,
    #[serde(default)]
    wait: bool,
}

#[command_handler]
async fn charge(
    cmd: Charge,
    tx: &mut Tx<Sqlite>,
    probe: Inject<Probe>,
    _schema: Inject<Schema>,
) -> Result<usize, sqlx::Error> {
    write(tx, "charged").await?;
    probe.note("charged");
    if cmd.wait {
        probe.pass("wait").await;
    }
    Ok(probe.count("charged"))
}

/// Cannot be stored.
#[derive(Command, Deserialize)]
struct Blind;

#[command_handler]
async fn blind(_cmd: Blind, probe: Inject<Probe>) {
    probe.note("blind");
}

#[derive(Query, Serialize, Deserialize)]
#[query(response = u8)]
struct Look;

#[query_handler]
async fn look_once(_q: Look) -> u8 {
    1
}

#[derive(Command, Serialize, Deserialize)]
#[command(item = u8)]
struct Pour;

#[command_handler]
async fn pour(_cmd: Pour, items: &mut Items<u8>) {
    items.send(1).await;
}

fn routes() -> Router<App> {
    Router::new()
        .route("/charge", post(command::<Charge>()))
        .route("/blind", post(command::<Blind>()))
        .route("/look", any(query::<Look>()))
        .route("/pour", post(sse::<Pour>()))
}

fn keyed(uri: &str, key: &[u8], body: &'static str) -> Request<Body> {
    let mut request = json("POST", uri, body);
    request.headers_mut().insert("idempotency-key", HeaderValue::from_bytes(key).unwrap());
    request
}

async fn charged(harness: &Harness, key: &str, body: &'static str) -> Answer {
    harness.ask(routes(), keyed("/charge", key.as_bytes(), body)).await
}

#[tokio::test]
async fn a_key_is_done_once_and_answered_the_same() {
    let harness = Harness::start().await;
    for key in ["9f2c", "9f2c", "\"9f2c\""] {
        let answer = charged(&harness, key, r#"{"cents": 995}"#).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "1"), "{key}");
    }
    assert_eq!(charged(&harness, "another", r#"{"cents": 995}"#).await.body, "2");
    assert_eq!(harness.rows().await, ["charged", "charged"]);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_422() {
    let harness = Harness::start().await;
    charged(&harness, "9f2c", r#"{"cents": 995}"#).await;
    let answer = charged(&harness, "9f2c", r#"{"cents": 996}"#).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.detail(), "the idempotency key was used with another request");
}

#[tokio::test]
async fn the_same_key_while_it_runs_is_409() {
    let harness = Harness::start().await;
    harness.probe.close("wait");
    let body = r#"{"cents": 995, "wait": true}"#;
    let (first, second) = tokio::join!(charged(&harness, "9f2c", body), async {
        harness.probe.noted("charged", 1).await;
        let answer = charged(&harness, "9f2c", body).await;
        harness.probe.open("wait");
        answer
    });
    assert_eq!((first.status, first.body.as_str()), (StatusCode::OK, "1"));
    assert_eq!((second.status, second.header("retry-after")), (StatusCode::CONFLICT, "1"));
}

#[tokio::test]
async fn a_key_that_is_none_is_400_and_runs_nothing() {
    let harness = Harness::start().await;
    let long = [b'k'; 300];
    for key in [&b""[..], b"\"\"", b"\"half", b"\xff", &long] {
        let answer = harness.ask(routes(), keyed("/charge", key, r#"{"cents": 995}"#)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", key.escape_ascii());
        assert!(answer.detail().starts_with("`Idempotency-Key` cannot be honoured: "));
    }
    let mut twice = keyed("/charge", b"a", r#"{"cents": 995}"#);
    twice.headers_mut().append("idempotency-key", HeaderValue::from_static("b"));
    assert_eq!(harness.ask(routes(), twice).await.status, StatusCode::BAD_REQUEST);
    assert!(harness.probe.log().is_empty());
}

#[tokio::test]
async fn a_command_that_takes_no_key_says_so_and_a_query_does_not_look() {
    let harness = Harness::start().await;
    for uri in ["/blind", "/pour"] {
        let answer = harness.ask(routes(), keyed(uri, b"9f2c", "null")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.detail(), "`Idempotency-Key` cannot be honoured: this command takes none");
        assert!(harness.ask(routes(), json("POST", uri, "null")).await.status.is_success());
    }
    assert_eq!(harness.ask(routes(), keyed("/look", b"9f2c", "null")).await.status, StatusCode::OK);
}
