//! What a client is told of a call that failed: by the error itself, or by the table. The table is tested over every kind
//! of failure beside it, in `cqrs/src/web/failure.rs`.

use std::fmt;

use axum::Router;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::routing::post;
use cqrs::axum::{ProblemDetails, command};
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::testing::TestApp;
use cqrs::{BoxError, Problem};
use serde::{Deserialize, Serialize};

use crate::client::{Answer, empty, json};
use crate::support::{Harness, Log, with_middleware};

#[derive(Debug, Clone, Copy, Deserialize)]
enum Way {
    Conflict,
    Typed,
    Inherits,
    Unavailable,
    Internal,
    Silent,
}

#[derive(Debug, Problem)]
enum OrderError {
    #[problem(status = 409)]
    Conflict,
    #[problem(status = 410, title = "Sold out", type = "https://shop.example/problems/sold-out")]
    Typed(&'static str),
    #[problem(status = 503)]
    Unavailable,
    #[problem(status = 500, title = "Broken")]
    Internal,
    Silent {
        secret: &'static str,
    },
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed(what) => write!(f, "{what} is gone"),
            Self::Silent { secret } => write!(f, "the password is {secret}"),
            other => write!(f, "text of {other:?}"),
        }
    }
}

impl std::error::Error for OrderError {}

#[derive(Command, Deserialize)]
#[command(error = OrderError)]
struct Order(Way);

#[command_handler]
async fn order(cmd: Order) -> Result<(), OrderError> {
    Err(match cmd.0 {
        Way::Conflict | Way::Inherits => OrderError::Conflict,
        Way::Typed => OrderError::Typed("tea"),
        Way::Unavailable => OrderError::Unavailable,
        Way::Internal => OrderError::Internal,
        Way::Silent => OrderError::Silent { secret: "hunter2" },
    })
}

/// The type says something for all its variants, one of them something of its own.
#[derive(Debug, Problem)]
#[problem(status = 422, title = "Refused", type = "/problems/refused")]
enum Refusal {
    Plain,
    #[problem(title = "Refused twice")]
    Twice,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {self:?}")
    }
}

impl std::error::Error for Refusal {}

#[derive(Command, Deserialize)]
#[command(error = Refusal)]
struct Refuse(bool);

#[command_handler]
async fn refuse(cmd: Refuse) -> Result<(), Refusal> {
    Err(if cmd.0 { Refusal::Twice } else { Refusal::Plain })
}

/// By hand: an error that is no `std::error::Error`, with an extension.
#[derive(Debug)]
struct Short {
    left: u32,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "only {} are left", self.left)
    }
}

impl Problem for Short {
    fn problem(&self) -> Option<ProblemDetails> {
        let problem = ProblemDetails::new(StatusCode::CONFLICT).extension("left", self.left).extension("status", 200);
        Some(problem.instance("/orders/7"))
    }
}

#[derive(Command, Deserialize)]
#[command(error = Short)]
struct Take;

#[command_handler]
async fn take(_cmd: Take) -> Result<(), Short> {
    Err(Short { left: 2 })
}

/// An error without a word on how a client is told of it.
#[derive(Debug)]
struct Plain;

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("table `users` does not exist")
    }
}

impl std::error::Error for Plain {}

#[derive(Command, Deserialize)]
#[command(error = Plain)]
struct Break;

#[command_handler]
async fn break_it(_cmd: Break) -> Result<(), Plain> {
    Err(Plain)
}

/// A generic error: asked where it is a message's.
#[derive(Debug, Problem)]
#[problem(status = 428)]
struct Missing<T>(T);

impl<T: fmt::Display> fmt::Display for Missing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is missing", self.0)
    }
}

#[derive(Command, Deserialize)]
#[command(error = Missing<u8>)]
struct Miss;

#[command_handler]
async fn miss(_cmd: Miss) -> Result<(), Missing<u8>> {
    Err(Missing(7))
}

/// The default error: what is in the box counts, what is wrapped within that does not.
#[derive(Command, Deserialize)]
struct Boxed(u8);

#[derive(Debug)]
struct Wrapped(Refusal);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something below failed")
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[command_handler]
async fn boxed(cmd: Boxed) -> Result<(), BoxError> {
    Err(match cmd.0 {
        0 => Refusal::Plain.into(),
        1 => ProblemDetails::new(StatusCode::IM_A_TEAPOT).detail("short and stout").into(),
        2 => Wrapped(Refusal::Plain).into(),
        _ => "just a text".into(),
    })
}

/// A provider that reads who is asking.
struct User(String);

#[provider(scope = "message")]
fn user(meta: &Meta) -> Result<User, BoxError> {
    match meta.header("authorization") {
        Some("broken") => Err("the user database is down at 10.0.0.7".into()),
        Some(name) => Ok(User(name.to_owned())),
        None => {
            let problem = ProblemDetails::new(StatusCode::UNAUTHORIZED).detail("say who you are");
            Err(problem.header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")).into())
        }
    }
}

#[derive(Command, Deserialize)]
#[command(response = String)]
struct WhoAmI;

#[command_handler]
async fn who_am_i(_cmd: WhoAmI, user: Inject<User>) -> String {
    user.0.clone()
}

#[middleware(kinds = [command])]
async fn gate(call: Call<'_>, next: Next<'_>) -> Outcome {
    match call.meta().header("x-gate") {
        None => next.run().await,
        Some("problem") => Outcome::reject(Refusal::Plain),
        Some(_) => Outcome::reject("the rule at line 17 of gates.conf"),
    }
}

#[derive(DomainEvent)]
struct Ordered;

#[derive(Command, Deserialize)]
struct Inline;

#[command_handler]
async fn inline(_cmd: Inline, events: &mut Events) {
    events.raise(Ordered);
}

#[event_handler(inline)]
async fn reserve(_e: &Ordered) -> Result<(), Refusal> {
    Err(Refusal::Twice)
}

#[derive(Command, Deserialize)]
pub struct HandledElsewhere;

#[derive(Command, Deserialize)]
struct Panic;

#[command_handler]
async fn panic_now(_cmd: Panic) {
    panic!("at /srv/secret");
}

#[derive(Command, Serialize, Deserialize)]
struct Bulk(String);

#[command_handler]
async fn bulk(_cmd: Bulk) {}

#[derive(Command, Deserialize)]
struct StoreBulk;

#[command_handler]
async fn store_bulk(_cmd: StoreBulk, events: &mut Events, _tx: &mut Tx<Sqlite>) {
    events.send(Bulk("x".repeat(2000)));
}

/// Answers with more than may be stored.
#[derive(Command, Serialize, Deserialize)]
#[command(response = String)]
struct Swell;

#[command_handler]
async fn swell(_cmd: Swell) -> String {
    "x".repeat(2000)
}

#[derive(Command, Deserialize)]
#[command(error = cqrs::Error)]
struct Nested;

#[command_handler]
async fn nested(_cmd: Nested, app: &App, _tx: &mut Tx<Sqlite>) -> Result<(), cqrs::Error> {
    Ok(app.send(StoreBulk).await?)
}

/// Fails with one error, and its fallback with another.
#[derive(Command, Deserialize)]
#[command(error = Refusal)]
struct FallBack;

#[command_handler(fallback = by_hand)]
async fn fall_back(_cmd: &FallBack) -> Result<(), Refusal> {
    Err(Refusal::Plain)
}

#[fallback]
async fn by_hand(_cmd: &FallBack) -> Result<(), Refusal> {
    Err(Refusal::Twice)
}

#[derive(Command, Deserialize)]
#[command(error = Plain)]
struct Ask;

#[command_handler(breaker(failures = 1, open_for = "1h"))]
async fn ask(_cmd: &Ask) -> Result<(), Plain> {
    Err(Plain)
}

#[derive(Command, Deserialize)]
struct Hang;

#[command_handler(timeout = "20ms")]
async fn hang(_cmd: &Hang) {
    std::future::pending().await
}

#[derive(Command, Deserialize)]
struct PassOn;

#[chain_link]
async fn pass_on(cmd: PassOn) -> Link<PassOn> {
    Link::Pass(cmd)
}

#[chain_link]
async fn pass_on_again(cmd: PassOn) -> Link<PassOn> {
    Link::Pass(cmd)
}

cqrs::chain!(PassOn => [pass_on, pass_on_again]);

fn routes() -> Router<App> {
    Router::new()
        .route("/order", post(command::<Order>()))
        .route("/refuse", post(command::<Refuse>()))
        .route("/take", post(command::<Take>()))
        .route("/miss", post(command::<Miss>()))
        .route("/break", post(command::<Break>()))
        .route("/boxed", post(command::<Boxed>().headers(["x-gate"])))
        .route("/who", post(command::<WhoAmI>().headers(["authorization"])))
        .route("/inline", post(command::<Inline>()))
        .route("/elsewhere", post(command::<HandledElsewhere>()))
        .route("/panic", post(command::<Panic>()))
        .route("/bulk", post(command::<StoreBulk>()))
        .route("/own-bulk", post(command::<Bulk>().body_limit(10_000)))
        .route("/swell", post(command::<Swell>()))
        .route("/fall-back", post(command::<FallBack>()))
        .route("/ask", post(command::<Ask>()))
        .route("/hang", post(command::<Hang>()))
        .route("/pass-on", post(command::<PassOn>()))
        .route("/nested", post(command::<Nested>()))
}

async fn told(uri: &str, body: &str) -> Answer {
    Harness::start().await.ask(routes(), json("POST", uri, body.to_owned())).await
}

/// A 500 that says nothing but its name.
fn assert_hidden(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{answer:?}");
    let problem = answer.problem();
    let names: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["instance", "status", "title", "type"], "{answer:?}");
    problem["instance"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_status_title_and_type_are_those_of_the_variant() {
    let answer = told("/order", r#""Conflict""#).await;
    assert_eq!(answer.body, r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"text of Conflict"}"#);
    answer.problem();
    let typed = told("/order", r#""Typed""#).await.problem();
    let expected = serde_json::json!({
        "type": "https://shop.example/problems/sold-out", "title": "Sold out", "status": 410, "detail": "tea is gone",
    });
    assert_eq!(typed, expected);
}

#[tokio::test]
async fn a_variant_has_from_the_type_what_it_does_not_say() {
    let plain = told("/refuse", "false").await.problem();
    let expected = serde_json::json!({
        "type": "/problems/refused", "title": "Refused", "status": 422, "detail": "refused: Plain",
    });
    assert_eq!(plain, expected);
    let twice = told("/refuse", "true").await.problem();
    assert_eq!((&twice["title"], &twice["type"]), (&"Refused twice".into(), &"/problems/refused".into()));
}

#[tokio::test]
async fn a_generic_error_is_asked_too() {
    let answer = told("/miss", "null").await;
    assert_eq!((answer.status.as_u16(), answer.detail()), (428, "7 is missing".to_owned()));
}

#[tokio::test]
async fn an_implementation_by_hand_says_what_it_likes_but_not_another_status() {
    let answer = told("/take", "null").await;
    assert_eq!(
        answer.body,
        r#"{"type":"about:blank","title":"Conflict","status":409,"instance":"/orders/7","left":2}"#
    );
}

#[tokio::test]
async fn what_says_nothing_is_500_without_its_text_and_logged_under_its_name() {
    let log = Log::start();
    for (uri, body, text) in [
        ("/break", "null", "table `users` does not exist"),
        ("/order", r#""Silent""#, "the password is hunter2"),
        ("/boxed", "2", "something below failed"),
        ("/boxed", "3", "just a text"),
        ("/panic", "null", "at /srv/secret"),
    ] {
        let answer = told(uri, body).await;
        let name = assert_hidden(&answer);
        let logged = log.text();
        let line = logged.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("{name}: {logged}"));
        assert!(line.contains(text) && line.contains("ERROR"), "{line}");
    }
}

#[tokio::test]
async fn a_500_that_was_asked_for_says_its_title_but_not_its_text() {
    let answer = told("/order", r#""Internal""#).await;
    assert_eq!((answer.problem()["title"].as_str(), answer.detail()), (Some("Broken"), String::new()));
    let answer = told("/order", r#""Unavailable""#).await;
    assert_eq!((answer.status, answer.detail()), (StatusCode::SERVICE_UNAVAILABLE, "text of Unavailable".to_owned()));
}

#[tokio::test]
async fn what_is_in_the_box_counts() {
    assert_eq!(told("/boxed", "0").await.detail(), "refused: Plain");
    assert_eq!(told("/boxed", "1").await.detail(), "short and stout");
}

#[tokio::test]
async fn a_provider_says_who_may_not_come_in() {
    let harness = Harness::start().await;
    let answer = harness.ask(routes(), empty("POST", "/who")).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"));
    assert_eq!(answer.detail(), "say who you are");
    let request = |name| {
        let mut request = empty("POST", "/who");
        request.headers_mut().insert("authorization", HeaderValue::from_static(name));
        request
    };
    assert_eq!(harness.ask(routes(), request("ada")).await.json(), "ada");
    assert_hidden(&harness.ask(routes(), request("broken")).await);
}

#[tokio::test]
async fn a_middleware_that_turns_down_is_403_or_what_it_says() {
    let probe = std::sync::Arc::default();
    let app = TestApp::new(with_middleware(&probe)).await.unwrap();
    let harness = Harness { app, probe };
    let request = |gate| {
        let mut request = json("POST", "/boxed", "0");
        request.headers_mut().insert("x-gate", HeaderValue::from_static(gate));
        request
    };
    let answer = harness.ask(routes(), request("problem")).await;
    assert_eq!((answer.status.as_u16(), answer.detail()), (422, "refused: Plain".to_owned()));

    let log = Log::start();
    let answer = harness.ask(routes(), request("text")).await;
    assert_eq!((answer.status.as_u16(), answer.detail()), (403, "the request was turned down".to_owned()));
    let name = answer.problem()["instance"].as_str().unwrap().to_owned();
    let logged = log.text();
    assert!(logged.contains(&name) && logged.contains("line 17 of gates.conf"), "{logged}");
    assert_eq!(harness.ask(routes(), json("POST", "/boxed", "1")).await.status, StatusCode::IM_A_TEAPOT);
}

#[tokio::test]
async fn an_inline_handler_refuses_for_its_command() {
    let answer = told("/inline", "null").await;
    assert_eq!((answer.status.as_u16(), answer.detail()), (422, "refused: Twice".to_owned()));
}

#[tokio::test]
async fn of_a_failed_fallback_its_own_error_is_told() {
    let answer = told("/fall-back", "null").await;
    assert_eq!((answer.status.as_u16(), answer.detail()), (422, "refused: Twice".to_owned()));
}

#[tokio::test]
async fn an_open_breaker_is_503_and_says_when_to_try_again() {
    let harness = Harness::start().await;
    assert_hidden(&harness.ask(routes(), empty("POST", "/ask")).await);
    let answer = harness.ask(routes(), empty("POST", "/ask")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((3500..=3600).contains(&seconds), "the breaker's own hour, not a guess: {seconds}");
    assert_eq!(answer.detail(), "what this depends on has failed too often lately");
}

#[tokio::test]
async fn failures_of_the_frameworks_are_as_the_table_says() {
    assert_hidden(&told("/elsewhere", "null").await);
    assert_hidden(&told("/nested", "null").await);
    assert_hidden(&told("/pass-on", "null").await);
    assert_eq!(told("/hang", "null").await.status, StatusCode::GATEWAY_TIMEOUT);
    let harness = Harness::start().await;
    let app = harness.plain();
    app.shutdown().await;
    let answer = harness.ask(routes(), empty("POST", "/panic")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
}

/// A request is too large where it is what is to be stored; what a handler makes of it, or answers, is none of the client's.
#[tokio::test]
async fn only_a_request_that_is_too_large_itself_is_413() {
    let harness = Harness::with(|builder| builder.payload_limit(1000).retain_middlewares(|_| false)).await;
    let keyed = |uri, body: String| {
        let mut request = json("POST", uri, body);
        request.headers_mut().insert("idempotency-key", HeaderValue::from_static("k"));
        request
    };
    let answer = harness.ask(routes(), keyed("/own-bulk", format!("\"{}\"", "x".repeat(2000)))).await;
    assert_eq!((answer.status.as_u16(), answer.detail()), (413, "what is to be stored of it is too large".to_owned()));
    let log = Log::start();
    for (request, what) in [(empty("POST", "/bulk"), "`Bulk` is "), (keyed("/swell", "null".to_owned()), "String` is ")]
    {
        let name = assert_hidden(&harness.ask(routes(), request).await);
        let logged = log.text();
        let (before, _) = logged.split_once(&name).unwrap_or_else(|| panic!("{name}: {logged}"));
        let (_, entry) = before.rsplit_once("ERROR").unwrap_or_else(|| panic!("{logged}"));
        assert!(entry.contains(what) && entry.contains("over the limit of 1000"), "{entry}");
    }
}
