//! Without store and broker the in-process half works as it is; what would have to be stored says what is missing.

mod foreign;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::SqlitePool;
use cqrs::sqlx::sqlite::SqliteConnectOptions;
use cqrs::testing::TestApp;
use cqrs::{DispatchErrorKind, Health};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

#[derive(Default)]
struct Log(Mutex<Vec<&'static str>>);

impl Log {
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
async fn acted(_e: &Acted, events: &mut Events, log: Inject<Log>) {
    log.note("acted");
    events.raise(Followed);
}

#[event_handler(inline)]
async fn inline(_e: &Acted, log: Inject<Log>) {
    log.note("inline");
}

#[event_handler]
async fn followed(_e: &Followed, log: Inject<Log>) {
    log.note("followed");
}

#[derive(Query)]
#[query(item = u8)]
struct Count;

#[query_handler]
async fn count(_q: Count, items: &mut Items<u8>) {
    items.send(1).await;
}

async fn app() -> (App, Arc<Log>) {
    let log = Arc::new(Log::default());
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

    let log = Arc::new(Log::default());
    let app = TestApp::new(cqrs::bootstrap!().provide_arc(Arc::clone(&log))).await.unwrap();
    app.send(Act { what: What::Raise }).await.unwrap();
    app.settle().await;
    assert_eq!((app.events::<Acted>().len(), app.events::<Followed>().len()), (1, 1));
    app.stop().await;
}

/// G1: a crate that is named and registers nothing is a warning, no error.
#[test]
fn g1_a_named_crate_that_registers_nothing_is_no_error() {
    cqrs::verify!(cqrs::bootstrap!(crates = [serde_json]).provide(Log::default()));
}

/// A call under way holds a clone of the app: what it leaves is stored, though the app was told to stop.
#[tokio::test]
async fn the_store_is_closed_with_the_last_clone_of_the_app() {
    let closed = Arc::new(Notify::new());
    let store = foreign::Foreign { closed: Arc::clone(&closed) };
    let app = cqrs::bootstrap!().provide(Log::default()).store(Store::driver(store)).await.unwrap();
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
    let app = cqrs::bootstrap!().provide(Log::default()).store(Store::pool(pool.clone())).await.unwrap();
    app.shutdown().await;
    drop(app);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!pool.is_closed());
}
