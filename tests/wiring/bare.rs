//! Without store and broker the in-process half works as it is; what would have to be stored says what is missing.

mod foreign;
#[path = "../core/log.rs"]
mod log;

use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::SqlitePool;
use cqrs::sqlx::sqlite::SqliteConnectOptions;
use cqrs::testing::TestApp;
use cqrs::{Builder, DispatchErrorKind, Health, Settings};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

#[derive(Default)]
struct Notes(Mutex<Vec<&'static str>>);

impl Notes {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    fn all(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Command, Serialize, Deserialize)]
struct Act {
    what: What,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum What {
    Raise,
    Publish,
    Send,
    Schedule,
}

#[derive(DomainEvent)]
struct Acted;

#[derive(DomainEvent)]
struct Followed;

#[derive(NotificationEvent, Serialize, Deserialize)]
struct ActedV1;

#[command_handler]
async fn act(cmd: Act, events: &mut Events) {
    events.raise(Acted);
    match cmd.what {
        What::Raise => {}
        What::Publish => events.raise(ActedV1),
        What::Send => events.send(Act { what: What::Raise }),
        What::Schedule => {
            events.schedule(Act { what: What::Raise }).after(Duration::from_secs(1)).key("k");
        }
    }
}

#[event_handler]
async fn acted(_e: &Acted, events: &mut Events, log: Inject<Notes>) {
    log.note("acted");
    events.raise(Followed);
}

#[event_handler(inline)]
async fn inline(_e: &Acted, log: Inject<Notes>) {
    log.note("inline");
}

#[event_handler]
async fn followed(_e: &Followed, log: Inject<Notes>) {
    log.note("followed");
}

#[derive(Query)]
#[query(item = u8)]
struct Count;

#[query_handler]
async fn count(_q: Count, items: &mut Items<u8>) {
    items.send(1).await;
}

async fn app() -> (App, Arc<Notes>) {
    let log = Arc::new(Notes::default());
    (cqrs::bootstrap!().provide_arc(Arc::clone(&log)).await.unwrap(), log)
}

#[tokio::test]
async fn calls_events_and_streams_need_no_store() {
    let (app, log) = app().await;
    app.send(Act { what: What::Raise }).await.unwrap();
    assert_eq!(log.all(), ["inline", "acted", "followed"]);
    app.publish(Followed).await.unwrap();
    assert_eq!(log.all().len(), 4);
    let mut items = app.stream(Count);
    assert_eq!(items.next().await.unwrap().unwrap(), 1);
    assert!(items.next().await.is_none());
}

#[tokio::test]
async fn what_would_have_to_be_stored_fails_before_anything_follows_from_it() {
    for what in [What::Publish, What::Send, What::Schedule] {
        let (app, log) = app().await;
        let error = app.send(Act { what }).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::NoStore);
        assert!(error.to_string().contains(".store(Store::url("), "{error}");
        assert_eq!(log.all(), ["inline"], "no plain handler runs for what did not happen");
    }
    let (app, log) = app().await;
    let error = app.send(Act { what: What::Raise }).idempotency_key("k").await.unwrap_err();
    assert_eq!(error.kind(), DispatchErrorKind::NoStore);
    assert!(error.to_string().starts_with("an idempotency key of `Act` needs a store"), "{error}");
    assert!(log.all().is_empty());
    let no_store = |error: cqrs::Error| matches!(error, cqrs::Error::Dispatch { kind: DispatchErrorKind::NoStore, .. });
    assert!(no_store(app.publish(ActedV1).await.unwrap_err()));
    assert!(no_store(app.schedule(Act { what: What::Raise }).await.map(drop).unwrap_err()));
    assert!(app.counts().await.unwrap_err().to_string().contains("the app has no store"));
    assert!(app.unit::<cqrs::sqlx::Sqlite>().await.is_err());
}

#[tokio::test]
async fn it_runs_stops_and_is_tested_like_any_other() {
    let (app, _) = app().await;
    let running = tokio::spawn({
        let app = app.clone();
        async move { app.run_until(std::future::pending()).await }
    });
    app.shutdown().await;
    running.await.unwrap().unwrap();
    assert_eq!(app.health(), Health::Stopped);

    let log = Arc::new(Notes::default());
    let app = TestApp::new(cqrs::bootstrap!().provide_arc(Arc::clone(&log))).await.unwrap();
    app.send(Act { what: What::Raise }).await.unwrap();
    app.settle().await;
    assert_eq!((app.events::<Acted>().len(), app.events::<Followed>().len()), (1, 1));
    app.stop().await;
}

/// G1: a crate that is named and registers nothing is a warning, no error.
#[test]
fn g1_a_named_crate_that_registers_nothing_is_no_error() {
    cqrs::verify!(cqrs::bootstrap!(crates = [serde_json]).provide(Notes::default()));
}

/// A call under way holds a clone of the app: what it leaves is stored, though the app was told to stop.
#[tokio::test]
async fn the_store_is_closed_with_the_last_clone_of_the_app() {
    let closed = Arc::new(Notify::new());
    let store = foreign::Foreign { closed: Arc::clone(&closed) };
    let app = cqrs::bootstrap!().provide(Notes::default()).store(Store::driver(store)).await.unwrap();
    let held = app.clone();
    app.shutdown().await;
    drop(app);
    let mut closed = pin!(closed.notified());
    // Given every chance to be closed too early.
    for _ in 0..50 {
        tokio::select! {
            biased;
            () = &mut closed => panic!("closed while somebody holds the app"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(held);
    tokio::time::timeout(Duration::from_secs(60), closed).await.expect("nobody closed it");
}

#[tokio::test]
async fn a_pool_of_the_users_stays_open() {
    let directory = tempfile::tempdir().unwrap();
    let file = SqliteConnectOptions::new().filename(directory.path().join("own.db")).create_if_missing(true);
    let pool = SqlitePool::connect_with(file).await.unwrap();
    let app = cqrs::bootstrap!().provide(Notes::default()).store(Store::pool(pool.clone())).await.unwrap();
    app.shutdown().await;
    drop(app);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!pool.is_closed());
}

const NOWHERE: &str = "a notification event was stored, but the app has no broker";
const NEVER_RUN: &str = "something was stored, but this process does not run it";

/// On a file, without a broker.
async fn on_file(directory: &Path, change: impl FnOnce(Builder) -> Builder) -> App {
    let file = format!("sqlite://{}", directory.join("app.db").display());
    change(cqrs::bootstrap!().provide(Notes::default()).store(Store::url(file))).await.unwrap()
}

/// Runs an app that stores two notification events, before it begins to run or while it does. Gives what was logged.
async fn lines(is_early: bool, change: impl FnOnce(Builder) -> Builder) -> String {
    let (directory, lines) = (tempfile::tempdir().unwrap(), log::Log::start());
    let app = on_file(directory.path(), change).await;
    if is_early {
        publish_twice(&app).await;
        assert!(!lines.text().contains(NOWHERE), "whether it will run is not known yet: {}", lines.text());
    }
    let running = run(&app).await;
    if !is_early {
        publish_twice(&app).await;
    }
    assert_eq!(app.counts().await.unwrap().outbox, 2, "nobody publishes");
    app.shutdown().await;
    running.await.unwrap();
    lines.text()
}

async fn publish_twice(app: &App) {
    app.send(Act { what: What::Publish }).await.unwrap();
    app.publish(ActedV1).await.unwrap();
}

/// Runs an app in the background, until it is shut down.
async fn run(app: &App) -> tokio::task::JoinHandle<()> {
    let running = app.clone();
    let running = tokio::spawn(async move { running.run_until(std::future::pending()).await.unwrap() });
    while app.health() == Health::Idle {
        tokio::task::yield_now().await;
    }
    running
}

#[tokio::test]
async fn hole_39_a_notification_event_that_nobody_will_publish_is_told_once() {
    for is_early in [false, true] {
        let text = lines(is_early, |builder| builder).await;
        assert_eq!(text.matches(NOWHERE).count(), 1, "{text}");
        assert!(text.contains("ActedV1") && text.contains("bare.rs:"), "what and where: {text}");
        assert!(text.contains(".broker(") && text.contains("relay = \"off\""), "how to mend it: {text}");
    }
}

#[tokio::test]
async fn hole_39_who_says_that_somebody_else_publishes_is_told_nothing() {
    let off = || Settings::from_toml("relay = 'off'").unwrap();
    let text = lines(false, |builder| builder.settings(off())).await;
    assert!(text.is_empty(), "{text}");
    let text = lines(false, |builder| builder.run(["work", "timers"])).await;
    assert!(text.is_empty(), "{text}");
    // What is stored and is no notification event needs no broker.
    let (directory, lines) = (tempfile::tempdir().unwrap(), log::Log::start());
    let app = on_file(directory.path(), |builder| builder).await;
    app.send(Act { what: What::Schedule }).await.unwrap();
    app.send(Act { what: What::Send }).await.unwrap();
    assert!(!lines.text().contains(NOWHERE), "{}", lines.text());
    app.shutdown().await;
}

#[tokio::test]
async fn an_app_with_the_broker_that_keeps_nothing_says_so_once() {
    let (directory, lines) = (tempfile::tempdir().unwrap(), log::Log::start());
    let app = on_file(directory.path(), |builder| builder.broker(Broker::devnull())).await;
    let running = run(&app).await;
    publish_twice(&app).await;
    while app.counts().await.unwrap().outbox > 0 {
        tokio::task::yield_now().await;
    }
    app.shutdown().await;
    running.await.unwrap();
    assert_eq!(lines.text().matches("what is published is lost").count(), 1, "{}", lines.text());
}

/// No warning: an event without a handler is no mistake. But who looks for a reason finds it.
#[tokio::test]
async fn hole_39_a_domain_event_that_nobody_handles_leaves_a_line_for_who_looks_for_it() {
    let (lines, _guard) = log::Log::of_everything();
    let (app, _) = app().await;
    app.publish(Acted).await.unwrap();
    assert!(!lines.text().contains("no handler of this program takes the event"), "{}", lines.text());
    app.publish(Unheard).await.unwrap();
    let text = lines.text();
    let told: Vec<_> =
        text.lines().filter(|line| line.contains("no handler of this program takes the event")).collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(told[0].contains("DEBUG") && told[0].contains("Unheard"), "{text}");
}

#[derive(DomainEvent)]
struct Unheard;

/// Nothing moves what is stored: the process that stored it first says so, once, and not where it runs.
#[tokio::test]
async fn the_first_stored_row_of_a_process_that_never_ran_is_told_once() {
    let (directory, lines) = (tempfile::tempdir().unwrap(), log::Log::start());
    let app = on_file(directory.path(), |builder| builder.broker(Broker::url("memory:"))).await;
    app.send(Act { what: What::Raise }).await.unwrap();
    assert!(lines.text().is_empty(), "nothing was stored: {}", lines.text());
    for _ in 0..2 {
        app.send(Act { what: What::Publish }).await.unwrap();
    }
    assert_eq!(lines.text().matches(NEVER_RUN).count(), 1, "{}", lines.text());
    assert!(lines.text().contains("app.run()"), "{}", lines.text());
    app.shutdown().await;

    let lines = log::Log::start();
    let app = on_file(directory.path(), |builder| builder.run(["work"])).await;
    let running = run(&app).await;
    app.send(Act { what: What::Publish }).await.unwrap();
    app.shutdown().await;
    running.await.unwrap();
    assert!(lines.text().is_empty(), "{}", lines.text());
}
