//! Server-sent events: their form, their ends, and clients that come back.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::routing::{any, get as on_get};
use cqrs::Problem;
use cqrs::axum::{SseEndpoint, sse};
use cqrs::prelude::*;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize, Serializer};
use tower::ServiceExt;

use crate::client::{Answer, Dropped, Served, get, json};
use crate::support::{Harness, Probe, bounded};

/// An item that may be none: it cannot be written.
struct Row {
    number: u64,
    text: &'static str,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.text {
            "unwritable" => Err(serde::ser::Error::custom("this row cannot be written")),
            text => (self.number, text).serialize(serializer),
        }
    }
}

#[derive(Debug, Problem)]
#[problem(status = 409)]
struct Refused(&'static str);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

#[derive(Command, Deserialize)]
#[command(item = Row, error = Refused)]
struct Import {
    #[serde(default)]
    from: u64,
    to: u64,
    #[serde(default)]
    end: String,
}

#[command_handler]
async fn import(cmd: Import, items: &mut Items<Row>, meta: &Meta, probe: Inject<Probe>) -> Result<(), Refused> {
    let _dropped = Dropped(probe.clone());
    probe.note(format!("tenant {:?} trace {:?}", meta.header("x-tenant"), meta.trace_parent()));
    for number in cmd.from + 1..=cmd.to {
        probe.note(format!("made {number}"));
        items.send(Row { number, text: "a\nb\r\"c\"" }).await;
    }
    match cmd.end.as_str() {
        "refuse" => Err(Refused("that is enough")),
        "panic" => panic!("import"),
        "unwritable" => {
            items.send(Row { number: 0, text: "unwritable" }).await;
            probe.note("went on");
            Ok(())
        }
        "wait" => {
            probe.pass("wait").await;
            Ok(())
        }
        _ => Ok(()),
    }
}

#[derive(Query, Deserialize)]
#[query(item = u8)]
struct Numbers;

#[query_handler]
async fn numbers(_q: Numbers, items: &mut Items<u8>) {
    items.send(1).await;
}

fn routes() -> Router<App> {
    with(sse::<Import>().headers(["x-tenant"])).route("/numbers", on_get(sse::<Numbers>()))
}

fn with(endpoint: SseEndpoint<Import>) -> Router<App> {
    Router::new().route("/import", any(endpoint.clone())).route("/import/{to}", any(endpoint))
}

/// With a last event id, and clients may come back.
fn resumable() -> Router<App> {
    with(sse::<Import>().resume(|last, import: Import| Import { from: last, ..import }))
}

fn after(uri: &str, last: &[u8]) -> Request<Body> {
    let mut request = get(uri);
    request.headers_mut().insert("last-event-id", HeaderValue::from_bytes(last).unwrap());
    request
}

async fn asked(routes: Router<App>, request: Request<Body>) -> Answer {
    Harness::start().await.ask(routes, request).await
}

fn item(id: u64) -> String {
    format!("id: {id}\nevent: item\ndata: [{id},\"a\\nb\\r\\\"c\\\"\"]\n\n")
}

const END: &str = "id: end\nevent: end\ndata: {}\n\n";

/// The problem that is the last event of a stream.
fn problem(answer: &Answer) -> serde_json::Value {
    let last = answer.body.trim_end().rsplit("\n\n").next().unwrap();
    let data = last.strip_prefix("event: error\ndata: ").unwrap_or_else(|| panic!("{answer:?}"));
    serde_json::from_str(data).unwrap()
}

#[tokio::test]
async fn items_are_events_with_ids_and_the_last_event_is_the_end() {
    let answer = asked(routes(), get("/import/2")).await;
    assert_eq!(answer.body, format!("{}{}{END}", item(1), item(2)));
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!((answer.header("cache-control"), answer.header("x-accel-buffering")), ("no-cache", "no"));
    assert_eq!(asked(routes(), get("/import/0")).await.body, END);
    assert_eq!(asked(routes(), get("/numbers")).await.body, format!("id: 1\nevent: item\ndata: 1\n\n{END}"));
    assert_eq!(asked(routes(), json("POST", "/import", r#"{"to": 1}"#)).await.body, format!("{}{END}", item(1)));
}

#[tokio::test]
async fn a_failure_is_the_last_event_as_a_problem() {
    let answer = asked(routes(), get("/import/1?end=refuse")).await;
    assert!(answer.body.starts_with(&item(1)) && !answer.body.contains("event: end"), "{answer:?}");
    let told = problem(&answer);
    let expected =
        serde_json::json!({"type": "about:blank", "title": "Conflict", "status": 409, "detail": "that is enough"});
    assert_eq!(told, expected);

    let told = problem(&asked(routes(), get("/import/0?end=panic")).await);
    assert_eq!((&told["status"], &told["detail"]), (&500.into(), &serde_json::Value::Null));
}

#[tokio::test]
async fn an_item_that_is_no_json_ends_the_stream_and_its_handler() {
    let harness = Harness::start().await;
    let told = problem(&harness.ask(routes(), get("/import/0?end=unwritable")).await);
    assert_eq!(told["status"], 500);
    assert_eq!(&harness.probe.log()[1..], ["dropped"], "the handler does not go on");
}

#[tokio::test]
async fn bad_input_is_an_ordinary_answer() {
    let answer = asked(routes(), get("/import/many")).await;
    assert_eq!((answer.status, answer.problem()["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("to")));
    let answer = asked(routes(), json("POST", "/import", "{")).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::BAD_REQUEST, "application/problem+json"));
}

#[tokio::test]
async fn headers_and_trace_parent_reach_the_stream() {
    let harness = Harness::start().await;
    let mut request = get("/import/0");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("x-tenant", "a"), ("traceparent", trace), ("x-other", "b")];
    request.headers_mut().extend(
        headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect::<HeaderMap>(),
    );
    harness.ask(routes(), request).await;
    assert_eq!(harness.probe.log()[0], format!("tenant Some(\"a\") trace Some({trace:?})"));
}

/// Items are made as they are read: one asked for, one made.
#[tokio::test]
async fn the_reader_pulls() {
    let harness = Harness::start().await;
    let router = routes().with_state(harness.plain());
    let response = router.oneshot(get("/import/1000000")).await.unwrap();
    assert!(harness.probe.log().is_empty(), "nothing happens until it is read");
    let mut body = response.into_body().into_data_stream();
    for number in 1..=3 {
        assert_eq!(body.next().await.unwrap().unwrap(), item(number));
        tokio::task::yield_now().await;
        assert_eq!(harness.probe.log().last().unwrap(), &format!("made {number}"));
    }
    drop(body);
    assert_eq!(harness.probe.log().last().unwrap(), "dropped");
}

#[tokio::test]
async fn a_client_that_goes_away_drops_the_handler() {
    let harness = Harness::start().await;
    harness.probe.close("wait");
    let served = Served::start(&harness, routes()).await;
    let mut client = served.request("GET", "/import/1?end=wait").await;
    client.until("event: item").await;
    assert_eq!(harness.probe.count("dropped"), 0);
    drop(client);
    harness.probe.noted("dropped", 1).await;
}

#[tokio::test]
async fn a_silent_stream_says_that_it_is_there() {
    let harness = Harness::start().await;
    harness.probe.close("wait");
    let served = Served::start(&harness, with(sse::<Import>().keep_alive(Duration::from_millis(100)))).await;
    let mut client = served.request("GET", "/import/1?end=wait").await;
    client.until(":\n\n\r\n3\r\n:\n\n").await;
    harness.probe.open("wait");
    assert!(client.until("event: end").await.contains("event: item"));
}

#[tokio::test]
async fn a_stream_that_takes_too_long_ends_with_504() {
    let harness = Harness::start().await;
    harness.probe.close("wait");
    let second = Duration::from_secs(1);
    for (count, endpoint) in [(1, sse::<Import>().timeout(second)), (2, sse::<Import>().item_timeout(second))] {
        let answer = harness.ask(with(endpoint), get("/import/1?end=wait")).await;
        assert!(answer.body.starts_with(&item(1)));
        assert_eq!(problem(&answer)["status"], 504);
        assert_eq!(harness.probe.count("dropped"), count);
    }
}

#[tokio::test]
async fn without_resume_a_client_that_comes_back_is_told_to_stop() {
    let harness = Harness::start().await;
    for last in [&b"2"[..], b"end", b"nonsense", b"\xff", &[b'9'; 5000]] {
        let answer = harness.ask(routes(), after("/import/3", last)).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NO_CONTENT, ""), "{}", last.escape_ascii());
    }
    assert!(harness.probe.log().is_empty(), "no handler ran");
}

#[tokio::test]
async fn with_resume_it_goes_on_where_it_left_off() {
    assert_eq!(asked(resumable(), after("/import/4", b"2")).await.body, format!("{}{}{END}", item(3), item(4)));
    assert_eq!(asked(resumable(), after("/import/1", b"0")).await.body, format!("{}{END}", item(1)));
    assert_eq!(
        asked(resumable(), after("/import/1", b"")).await.body,
        format!("{}{END}", item(1)),
        "as if for the first time"
    );
    assert_eq!(asked(resumable(), after("/import/4", b"4")).await.body, END);
    let refused = asked(resumable(), after("/import/x", b"4")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_client_that_has_had_the_end_is_told_to_stop() {
    assert_eq!(asked(resumable(), after("/import/4", b"end")).await.status, StatusCode::NO_CONTENT);
    let choosy = || {
        with(
            sse::<Import>()
                .resume(|last, import: Import| (last < import.to).then_some(Import { from: last, ..import })),
        )
    };
    assert_eq!(asked(choosy(), after("/import/4", b"4")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(asked(choosy(), after("/import/4", b"3")).await.body, format!("{}{END}", item(4)));
}

#[tokio::test]
async fn an_id_that_was_never_given_is_400() {
    let harness = Harness::start().await;
    let long = [b'9'; 5000];
    for last in [&b"-1"[..], b"1.5", b"01", b"two", b"1 2", b"\xff\xfe", b"9223372036854775808", &long] {
        let answer = harness.ask(resumable(), after("/import/3", last)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", last.escape_ascii());
        assert_eq!(answer.detail(), "`Last-Event-ID` is none of the ids that this stream gives");
    }
    let mut twice = after("/import/3", b"1");
    twice.headers_mut().append("last-event-id", HeaderValue::from_static("2"));
    assert_eq!(harness.ask(resumable(), twice).await.status, StatusCode::BAD_REQUEST);
    // The largest there is: nothing overflows.
    let last = i64::MAX.to_string();
    assert_eq!(harness.ask(resumable(), after("/import/3", last.as_bytes())).await.body, END);
}

#[tokio::test]
async fn bytes_that_no_header_may_hold_reach_no_handler() {
    let harness = Harness::start().await;
    let served = Served::start(&harness, resumable()).await;
    for last in [&b"1\0"[..], b"\x01", b"1\x7f"] {
        let mut request = b"GET /import/3 HTTP/1.1\r\nhost: shop\r\nlast-event-id: ".to_vec();
        request.extend_from_slice(last);
        request.extend_from_slice(b"\r\n\r\n");
        let answer = bounded(served.open(request).await.rest()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert!(harness.probe.log().is_empty());
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "web.shipped", topic = "web")]
struct Shipped;

#[derive(Command, Deserialize)]
#[command(item = u64)]
struct Ship {
    first: u64,
}

/// Each item but the first ones is stored before it is delivered.
#[command_handler]
async fn ship(cmd: Ship, items: &mut Items<u64>, events: &mut Events, probe: Inject<Probe>) {
    for number in 0..cmd.first {
        items.send(number).await;
    }
    probe.pass("ship").await;
    events.raise(Shipped);
    items.send(cmd.first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_busy_after_an_item_took_nothing_of_that_back() {
    let harness = Harness::start().await;
    harness.probe.close("ship");
    let served = Served::start(&harness, Router::new().route("/{first}", any(sse::<Ship>()))).await;
    let mut begun = served.request("POST", "/1").await;
    let mut idle = served.request("POST", "/0").await;
    begun.until("event: item").await;
    // Others write for longer than the store waits for them.
    let writer = harness.app.unit::<cqrs::sqlx::Sqlite>().await.unwrap();
    for _ in 0..2 {
        harness.probe.open("ship");
    }
    let told = begun.until("urn:uuid").await;
    assert!(told.contains("503") && told.contains("what was delivered before stays"), "{told}");
    assert!(!told.contains("nothing was stored"), "{told}");
    let told = idle.until("urn:uuid").await;
    assert!(told.contains("nothing was stored") && !told.contains("event: item"), "{told}");
    drop(writer);
}
