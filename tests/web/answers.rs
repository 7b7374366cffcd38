//! What a success answers, and what of a request reaches the call.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::routing::{any, get as on_get, post};
use cqrs::axum::{command, query};
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

use crate::client::{empty, get};
use crate::support::Harness;

#[derive(Query, Deserialize)]
#[query(response = Option<String>)]
struct Find {
    #[serde(default)]
    text: Option<String>,
}

#[query_handler]
async fn find(q: Find) -> Option<String> {
    q.text
}

#[derive(Command, Deserialize)]
struct Forget;

#[command_handler]
async fn forget(_cmd: Forget) {}

/// Cannot be JSON: its keys are no texts.
#[derive(Query, Deserialize)]
#[query(response = BTreeMap<(u8, u8), u8>)]
struct Pairs;

#[query_handler]
async fn pairs(_q: Pairs) -> BTreeMap<(u8, u8), u8> {
    BTreeMap::from([((1, 2), 3)])
}

#[derive(Serialize)]
struct Seen {
    headers: BTreeMap<String, String>,
    trace: Option<String>,
}

#[derive(Query, Deserialize)]
#[query(response = Seen)]
struct Look;

#[query_handler]
async fn look(_q: Look, meta: &Meta) -> Seen {
    Seen { headers: meta.headers().clone(), trace: meta.trace_parent().map(str::to_owned) }
}

#[derive(Command, Deserialize)]
struct Linger;

#[command_handler]
async fn linger(_cmd: Linger) {
    std::future::pending::<()>().await;
}

async fn status(router: Router<App>, request: Request<axum::body::Body>) -> (StatusCode, String) {
    let answer = Harness::start().await.ask(router, request).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn none_is_null_or_404() {
    let route =
        || Router::new().route("/", on_get(query::<Find>())).route("/404", on_get(query::<Find>().none_is_404()));
    assert_eq!(status(route(), get("/?text=a")).await, (StatusCode::OK, "\"a\"".to_owned()));
    assert_eq!(status(route(), get("/")).await, (StatusCode::OK, "null".to_owned()));
    assert_eq!(status(route(), get("/404?text=a")).await.0, StatusCode::OK);
    let answer = Harness::start().await.ask(route(), get("/404")).await;
    assert_eq!((answer.status, answer.problem()["title"].as_str()), (StatusCode::NOT_FOUND, Some("Not Found")));
}

#[tokio::test]
async fn no_answer_is_204_and_the_status_can_be_another() {
    let route = Router::new()
        .route("/", any(command::<Forget>()))
        .route("/later", any(command::<Forget>().status(202)))
        .route("/made", any(query::<Find>().status(201)));
    assert_eq!(status(route.clone(), empty("POST", "/")).await, (StatusCode::NO_CONTENT, String::new()));
    assert_eq!(status(route.clone(), empty("POST", "/later")).await, (StatusCode::ACCEPTED, String::new()));
    assert_eq!(status(route, get("/made?text=a")).await, (StatusCode::CREATED, "\"a\"".to_owned()));
}

#[test]
#[should_panic(expected = "404 is not the status of a success")]
fn a_status_that_is_no_success_is_refused_when_the_route_is_made() {
    let _ = command::<Forget>().status(404);
}

#[test]
#[should_panic(expected = "`no name` is not the name of an HTTP header")]
fn a_name_that_is_none_is_refused_when_the_route_is_made() {
    let _ = command::<Forget>().headers(["fine", "no name"]);
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_500() {
    let answer = Harness::start().await.ask(Router::new().route("/", on_get(query::<Pairs>())), get("/")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.problem()["instance"].as_str().unwrap().starts_with("urn:uuid:"), "{answer:?}");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_504() {
    let route = Router::new().route("/", post(command::<Linger>().timeout(Duration::from_millis(20))));
    let answer = Harness::start().await.ask(route, empty("POST", "/")).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.detail(), "it took too long, and was given up");
}

#[tokio::test]
async fn only_the_headers_that_are_named_reach_the_meta() {
    let route = || Router::new().route("/", on_get(query::<Look>().headers(["Authorization", "x-tenant", "x-none"])));
    let request = Request::get("/")
        .header("AUTHORIZATION", "Bearer abc")
        .header("x-tenant", "a")
        .header("x-tenant", "b")
        .header("x-other", "c")
        .header("cookie", "d=e");
    let answer = Harness::start().await.ask(route(), request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(answer.json()["headers"], serde_json::json!({"authorization": "Bearer abc", "x-tenant": "a, b"}));

    let request = Request::get("/").header("x-tenant", &b"\xff"[..]).body(axum::body::Body::empty()).unwrap();
    let answer = Harness::start().await.ask(route(), request).await;
    assert_eq!(answer.json()["headers"], serde_json::json!({}), "what is no text is not passed on as another");
}

#[tokio::test]
async fn the_trace_parent_is_honoured_where_it_is_one() {
    let route = || Router::new().route("/", on_get(query::<Look>()));
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (values, expected) in
        [(vec![trace], Some(trace)), (vec!["nonsense"], None), (vec![trace, trace], None), (vec![], None)]
    {
        let request = values.iter().fold(Request::get("/"), |request, value| request.header("traceparent", *value));
        let answer = Harness::start().await.ask(route(), request.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(answer.json()["trace"].as_str(), expected, "{values:?}");
    }
}
