//! The `Idempotency-Key` header.

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::routing::{any, post};
use cqrs::axum::{ProblemDetails, command, query, sse};
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

/// Whom the `authorization` header names, as a login would find out.
#[derive(Clone)]
struct Caller(String);

#[provider(scope = "message")]
fn caller(meta: &Meta, probe: Inject<Probe>) -> Result<Caller, ProblemDetails> {
    probe.note("asked who it is");
    let named = meta.header("authorization").filter(|name| *name != "nobody");
    named.map(|name| Caller(name.to_owned())).ok_or_else(|| ProblemDetails::new(StatusCode::UNAUTHORIZED))
}

/// Says to whom it belongs.
#[derive(Command, Serialize, Deserialize)]
#[command(response = String)]
struct Deposit {
    cents: u32,
}

#[command_handler]
async fn deposit(cmd: Deposit, caller: Inject<Caller>, probe: Inject<Probe>) -> String {
    probe.note("deposit");
    format!("{} of {}", cmd.cents, caller.0)
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[command(response = String)]
struct Withdraw {
    cents: u32,
}

#[chain_link]
async fn withdraw(cmd: Withdraw, caller: Inject<Caller>) -> Link<Withdraw> {
    Link::Answer(format!("{} to {}", cmd.cents, caller.0))
}

#[chain_link]
async fn withdraw_by_hand(cmd: Withdraw) -> Link<Withdraw> {
    Link::Pass(cmd)
}

cqrs::chain!(Withdraw => [withdraw, withdraw_by_hand]);

/// Whose keys a request's are: found out before the call.
fn whose(request: &Parts) -> Result<String, ProblemDetails> {
    let name = request.headers.get("authorization").and_then(|name| name.to_str().ok());
    name.map(str::to_owned).ok_or_else(|| ProblemDetails::new(StatusCode::UNAUTHORIZED).detail("whose key is it?"))
}

fn routes() -> Router<App> {
    Router::new()
        .route("/deposit", post(command::<Deposit>().headers(["authorization"])))
        .route("/withdraw", post(command::<Withdraw>().headers(["authorization"])))
        .route("/own-deposit", post(command::<Deposit>().headers(["authorization"]).key_scope(whose)))
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

/// One call with the key `k`, of somebody.
async fn of(harness: &Harness, uri: &str, name: &'static str, body: &'static str) -> Answer {
    let mut request = keyed(uri, b"k", body);
    if !name.is_empty() {
        request.headers_mut().insert("authorization", HeaderValue::from_static(name));
    }
    harness.ask(routes(), request).await
}

/// What has been stored under a key is nobody's to see who would not get in without one, nor that it is there.
#[tokio::test]
async fn whoever_may_not_come_in_is_told_nothing_of_a_key() {
    let harness = Harness::start().await;
    for uri in ["/deposit", "/withdraw"] {
        let first = of(&harness, uri, "alice", r#"{"cents": 7}"#).await;
        assert_eq!((first.status, first.json().as_str().unwrap().ends_with("alice")), (StatusCode::OK, true));
        assert_eq!(of(&harness, uri, "alice", r#"{"cents": 7}"#).await.body, first.body);
        for name in ["", "nobody"] {
            for body in [r#"{"cents": 7}"#, r#"{"cents": 8}"#] {
                let answer = of(&harness, uri, name, body).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{uri} {name} {answer:?}");
            }
        }
        assert_eq!(of(&harness, uri, "alice", r#"{"cents": 8}"#).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!((harness.probe.count("deposit"), harness.probe.count("asked who it is")), (1, 14), "once a call");
}

#[tokio::test]
async fn keys_of_two_callers_never_meet() {
    let harness = Harness::start().await;
    for _ in 0..2 {
        for (name, body, answered) in [
            ("alice", r#"{"cents": 7}"#, "7 of alice"),
            ("bob", r#"{"cents": 7}"#, "7 of bob"),
            ("carol", r#"{"cents": 8}"#, "8 of carol"),
        ] {
            assert_eq!(of(&harness, "/own-deposit", name, body).await.json(), answered);
        }
    }
    assert_eq!(harness.probe.count("deposit"), 3);
    // Nor with those of nobody in particular.
    assert_eq!(of(&harness, "/deposit", "alice", r#"{"cents": 9}"#).await.json(), "9 of alice");
    let nobody = of(&harness, "/own-deposit", "", r#"{"cents": 7}"#).await;
    assert_eq!((nobody.status, nobody.detail()), (StatusCode::UNAUTHORIZED, "whose key is it?".to_owned()));
    // Without a key nobody is asked whose it is.
    let mut request = json("POST", "/own-deposit", r#"{"cents": 7}"#);
    request.headers_mut().insert("authorization", HeaderValue::from_static("dave"));
    assert_eq!(harness.ask(routes(), request).await.json(), "7 of dave");
    let again = of(&harness, "/own-deposit", "alice", r#"{"cents": 8}"#).await;
    assert_eq!(again.detail(), "the idempotency key was used with another request");
    // The store has no credentials.
    let mut unit = harness.app.unit::<Sqlite>().await.unwrap();
    let stored = "SELECT COUNT(*) FROM cqrs_idempotent WHERE idempotency_key LIKE '%alice%'";
    let stored: i64 = sqlx::query_scalar(stored).fetch_one(&mut **unit.tx()).await.unwrap();
    assert_eq!(stored, 0);
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
