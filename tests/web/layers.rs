//! What a client is told where a layer of `tower` turns its request down, and where the program is wrong.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get as on_get, post};
use cqrs::CallKind;
use cqrs::axum::{command, query, sse};
use cqrs::prelude::*;
use cqrs::testing::TestApp;
use cqrs::tower::around;
use serde::Deserialize;
use tower::ServiceBuilder;

use crate::client::{Answer, empty, get};
use crate::support::{Harness, Log, Probe, with_middleware};

#[derive(Command, Deserialize)]
struct Work;

#[command_handler]
async fn work(_cmd: Work, probe: Inject<Probe>) {
    probe.note("at work");
    probe.pass("work").await;
}

/// No `Clone`: whoever looks at it cannot run the call.
#[derive(Command, Deserialize)]
struct Single;

#[command_handler]
async fn single(_cmd: Single) {}

#[derive(Query, Deserialize)]
#[query(response = u8)]
struct SingleQuery;

#[query_handler]
async fn single_query(_q: SingleQuery) -> u8 {
    1
}

#[derive(Query, Deserialize)]
#[query(item = u8)]
struct SingleStream;

#[query_handler]
async fn single_stream(_q: SingleStream, items: &mut Items<u8>) {
    items.send(1).await;
}

#[middleware]
async fn look(call: Call<'_>, next: Next<'_>) -> Outcome {
    let seen = call.message::<Single>().is_some()
        || call.message::<SingleQuery>().is_some()
        || call.message::<SingleStream>().is_some();
    let outcome = next.run().await;
    assert!(!seen || !outcome.is_ok());
    outcome
}

fn routes() -> Router<App> {
    Router::new()
        .route("/work", post(command::<Work>()))
        .route("/single", post(command::<Single>()))
        .route("/single", on_get(query::<SingleQuery>()))
        .route("/stream", on_get(sse::<SingleStream>()))
}

/// What is told of a request that was not served, once it was found in the log under the name that the client got.
fn told(answer: &Answer, log: &Log, level: &str, text: &str) -> (StatusCode, String, String) {
    let problem = answer.problem();
    let name = problem["instance"].as_str().unwrap_or_else(|| panic!("{answer:?}"));
    let logged = log.text();
    let line = logged.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {logged}"));
    assert!(line.contains(text) && line.contains(level), "{line}");
    (answer.status, answer.detail(), answer.header("retry-after").to_owned())
}

#[tokio::test]
async fn what_a_layer_sheds_is_503_and_says_when_to_try_again() {
    let layers = ServiceBuilder::new().load_shed().concurrency_limit(1);
    let harness = Harness::with(|builder| builder.layer(around([CallKind::Command], layers))).await;
    harness.probe.close("work");
    let log = Log::start();
    let (first, second) = tokio::join!(harness.ask(routes(), empty("POST", "/work")), async {
        harness.probe.noted("at work", 1).await;
        let answer = harness.ask(routes(), empty("POST", "/work")).await;
        harness.probe.open("work");
        answer
    });
    assert_eq!(first.status, StatusCode::NO_CONTENT);
    let expected = (StatusCode::SERVICE_UNAVAILABLE, "there is too much to do just now".to_owned(), "1".to_owned());
    assert_eq!(told(&second, &log, "WARN", "overloaded"), expected);
}

#[tokio::test]
async fn what_a_layer_gives_too_little_time_is_504() {
    let layers = ServiceBuilder::new().timeout(Duration::from_millis(30));
    let harness = Harness::with(|builder| builder.layer(around([CallKind::Command], layers))).await;
    harness.probe.close("work");
    let log = Log::start();
    let answer = harness.ask(routes(), empty("POST", "/work")).await;
    let expected = (StatusCode::GATEWAY_TIMEOUT, "it took too long, and was given up".to_owned(), String::new());
    assert_eq!(told(&answer, &log, "WARN", "timed out"), expected);
}

/// A program that is wrong is no client's fault.
#[tokio::test]
async fn a_middleware_that_cannot_run_what_it_looked_at_is_500() {
    let probe = Arc::new(Probe::default());
    let app = TestApp::new(with_middleware(&probe).retain_middlewares(|name| name == "look")).await.unwrap();
    let harness = Harness { app, probe };
    let log = Log::start();
    for request in [empty("POST", "/single"), get("/single")] {
        let answer = harness.ask(routes(), request).await;
        let expected = (StatusCode::INTERNAL_SERVER_ERROR, String::new(), String::new());
        assert_eq!(told(&answer, &log, "ERROR", "derive `Clone` for"), expected);
    }
    let stream = harness.ask(routes(), get("/stream")).await.body;
    let (_, error) = stream.split_once("event: error\ndata: ").unwrap_or_else(|| panic!("{stream}"));
    assert!(error.contains(r#""status":500"#) && !stream.contains("event: item"), "{stream}");
}
