//! Consumed messages that share a transaction: G7, G9, G10, G11.

mod crash;
mod turns;
pub mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cqrs::broker::MemoryBroker;
use cqrs::broker::driver::{Driver, Outgoing, Subscription};
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use cqrs::testing::TestApp;
use cqrs::{BoxError, Builder};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use uuid::Uuid;

use self::watched::{Watch, Watched};
use crate::support::{self, Harness, Probe, bounded, directory, message, write};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "batches.batched", topic = "batches", key = key)]
struct Batched {
    key: String,
    number: u32,
}

/// What a message leaves: a row of its own, an event of each kind.
#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "batches.written", topic = "batches.written", key = key)]
struct Written {
    key: String,
    number: u32,
}

#[derive(DomainEvent)]
struct Noted(u32);

/// Dropped when the messages it was made for is done with.
struct Scoped(u32, Arc<Probe>);

impl Drop for Scoped {
    fn drop(&mut self) {
        self.1.note(format!("disposed of {}", self.0));
    }
}

#[provider(scope = "message")]
fn scoped(meta: &Meta, probe: Inject<Probe>) -> Scoped {
    Scoped(meta.header("number").and_then(|number| number.parse().ok()).unwrap_or_default(), probe.arc())
}

#[event_handler(group = "batches", concurrency = 2, retry(max = 2, first = "1s"))]
async fn batched(
    e: Batched,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    meta: &Meta,
    scoped: Inject<Scoped>,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    let name = format!("{} {}", e.key, e.number);
    write(tx, name.clone()).await?;
    events.raise(Noted(scoped.0));
    events.raise(Written { key: e.key.clone(), number: e.number });
    probe.note(format!("called {name} attempt {}", meta.attempt()));
    probe.pass("batched").await;
    if probe.try_it(&format!("panic {}", e.number)).is_err() {
        panic!("told to");
    }
    if probe.try_it(&format!("sleep {}", e.number)).is_err() {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    if probe.try_it(&format!("swallow {}", e.number)).is_err() {
        // SQLite ends the transaction, and the handler does not mind.
        let rolled_back = sqlx::query("INSERT OR ROLLBACK INTO notes (id, text) VALUES (1, 'a'), (1, 'b')");
        assert!(rolled_back.execute(&mut **tx).await.is_err());
    }
    if probe.try_it(&format!("unspeakable {}", e.number)).is_err() {
        return Err(Unspeakable.into());
    }
    probe.try_it(&format!("fail {}", e.number))?;
    Ok(())
}

/// An error that cannot be said.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("told to")
    }
}

impl std::error::Error for Unspeakable {}

/// Another handler of the same messages, with an outcome of its own.
#[event_handler(group = "batches", order = 1, retry(max = 2, first = "1s"))]
async fn beside(e: &Batched, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), BoxError> {
    write(tx, format!("beside {} {}", e.key, e.number)).await?;
    probe.try_it(&format!("fail beside {}", e.number))?;
    Ok(())
}

#[event_handler]
async fn noted(e: &Noted, probe: Inject<Probe>, pool: Inject<sqlx::SqlitePool>) {
    // Another connection: what it sees has been committed.
    let seen: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM notes").fetch_one(&*pool).await.unwrap();
    probe.note(if seen > 0 { format!("noted {}", e.0) } else { "noted too early".to_owned() });
}

/// An app on a store that is watched, and a broker that the test publishes to.
struct Setup {
    app: Harness,
    broker: MemoryBroker,
    watch: Arc<Watch>,
    _directory: TempDir,
}

impl Setup {
    async fn start() -> Self {
        Self::with(support::app).await
    }

    async fn with(builder: impl FnOnce(&Arc<Probe>) -> Builder) -> Self {
        let (directory, probe) = (directory(), Arc::new(Probe::default()));
        let (broker, watch) = (MemoryBroker::new(), Arc::new(Watch::default()));
        let store = watched(directory.path(), &watch).await;
        let builder = builder(&probe).store(store).broker(Broker::driver(broker.clone()));
        let app = Harness { app: TestApp::new(builder).await.unwrap(), probe };
        Self { app, broker, watch, _directory: directory }
    }

    /// Publishes, all at once, and waits until all are settled.
    async fn publish(&self, messages: Vec<Outgoing>) {
        let results = self.broker.publish(messages).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        self.app.settle().await;
    }

    /// The rows without those of the handler beside.
    async fn rows(&self) -> Vec<String> {
        let rows = self.app.rows().await.into_iter();
        rows.filter(|row| !row.starts_with("beside ")).collect()
    }
}

pub async fn watched(directory: &std::path::Path, watch: &Arc<Watch>) -> Store {
    let inner = Store::url(format!("sqlite://{}", directory.join("app.db").display())).connect().await.unwrap();
    Store::driver(Watched { inner, watch: Arc::clone(watch) })
}

/// What is published before an app has subscribed waits for it from here on.
async fn subscribed(broker: &MemoryBroker) {
    let group = Subscription { group: "batches".into(), topics: vec!["batches".into()], prefetch: 1 };
    drop(broker.subscribe(group).await.unwrap());
}

fn outgoing(event: Uuid, key: &str, number: u32) -> Outgoing {
    let payload = serde_json::json!({"key": key, "number": number});
    let delivery = message("batches", "batches.batched", event, &payload).header("number", number.to_string());
    Outgoing { id: Uuid::now_v7(), delivery: if key.is_empty() { delivery } else { delivery.key(key) } }
}

/// Messages with these keys, numbered.
fn numbered<'k>(keys: impl IntoIterator<Item = &'k str>) -> Vec<Outgoing> {
    keys.into_iter().zip(0..).map(|(key, number)| outgoing(Uuid::now_v7(), key, number)).collect()
}

/// That each row is there once, and those of a key in order.
fn assert_once_in_order(rows: &[String], number: usize) {
    let mut by_key: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for row in rows {
        let (key, number) = row.rsplit_once(' ').unwrap();
        by_key.entry(key).or_default().push(number.parse().unwrap());
    }
    assert_eq!(by_key.values().map(Vec::len).sum::<usize>(), number, "{rows:?}");
    for (key, numbers) in &by_key {
        let in_order = numbers.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(key.is_empty() || in_order, "{key}: {numbers:?}");
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), numbers.len(), "{key}: {numbers:?}");
    }
}

#[tokio::test]
async fn g9_g10_a_thousand_messages_in_batches_have_their_effects_once_and_in_order_of_their_keys() {
    bounded(async {
        let setup = Setup::start().await;
        let keys: Vec<String> = (0..1_000).map(|number| format!("k{}", number % 50)).collect();
        setup.publish(numbered(keys.iter().map(String::as_str))).await;
        assert_once_in_order(&setup.rows().await, 1_000);
        let (app, commits) = (&setup.app, setup.watch.count("commit"));
        assert!(commits < 100, "{commits} transactions");
        // The marks of a batch go in together, and so do its rows; the handler beside raises nothing.
        assert_eq!(setup.watch.count("mark_handled"), commits);
        assert!((1..=commits).contains(&setup.watch.count("store")), "{:?}", setup.watch.steps);
        assert_eq!((app.rows().await.len(), app.counts().await.unwrap().inbox), (2_000, 2_000));
        assert_eq!((app.events::<Written>().len(), app.stored().await, app.dead().await.len()), (1_000, (0, 0), 0));
        // What follows the commit: once for each, and what was made for a message is dropped after it.
        let log = app.probe.log();
        for number in 0..1_000 {
            assert_eq!(app.probe.count(&format!("noted {number}")), 1);
            let last = |what: String| log.iter().rposition(|noted| *noted == what);
            // What a batch had no time for may have had its dependencies made before.
            assert!(last(format!("noted {number}")) < last(format!("disposed of {number}")));
        }
        assert_eq!(app.probe.count("noted too early"), 0);
        assert_eq!(setup.watch.count("savepoint"), 0);
    })
    .await;
}

/// The batch is rolled back, and every message of it is handled in a transaction of its own: the failed one has its retries
/// and its dead letter, its key waits, and the others have their effects once.
#[tokio::test]
async fn g10_g11_a_message_that_fails_costs_its_batch_once_and_harms_no_other() {
    bounded(async {
        let setup = Setup::start().await;
        let app = &setup.app;
        app.probe.fail("fail 4", u32::MAX);
        let mut messages = numbered(["a", "b", "c", "d", "x", "e", "f", "g", "h", "i"]);
        messages.push(outgoing(Uuid::now_v7(), "x", 10));
        setup.publish(messages).await;
        assert_once_in_order(&setup.rows().await, 9);
        assert!(setup.watch.count("rollback") >= 1, "{:?}", setup.watch.steps);
        assert_eq!((app.stored().await.1, app.dead().await.len()), (2, 0), "one waits, one is behind it");
        // Nothing of what was rolled back was published.
        assert_eq!(app.events::<Written>().len(), 9);
        app.settle_an_hour_later().await;
        app.settle_an_hour_later().await;
        let dead = app.dead().await;
        assert_eq!((dead.len(), dead[0].attempts, dead[0].error.as_str()), (1, 2, "refused: fail 4"));
        assert_eq!((app.stored().await.1, setup.rows().await.len()), (1, 9), "a dead one holds its key");
        // Others go on, and the key when the dead one is gone.
        setup.publish(numbered(["j", "k"])).await;
        assert_eq!(setup.rows().await.len(), 11);
        assert!(app.discard(dead[0].id).await.unwrap());
        app.settle().await;
        let rows = setup.rows().await;
        assert_eq!((rows.last().map(String::as_str), app.stored().await.1), (Some("x 10"), 0));
        assert_eq!(app.events::<Written>().len(), 12);
        // The handler beside it handled that message, too.
        assert_eq!(app.rows().await.iter().filter(|row| *row == "beside x 4").count(), 1);
    })
    .await;
}

/// What it was called for in the batch is its first attempt, and handling it alone the second, which follows at once.
#[tokio::test]
async fn g10_a_message_that_spoils_its_batch_is_called_no_more_often_than_it_says() {
    bounded(async {
        let three = || cqrs::Settings::from_toml("[group.batches]\nconcurrency = 1\nretry.max = 3").unwrap();
        let setup = Setup::with(|probe| support::app(probe).settings(three())).await;
        let app = &setup.app;
        app.probe.fail("fail 4", u32::MAX);
        setup.publish(numbered(["a", "b", "c", "d", "x", "e", "f", "g", "h", "i"])).await;
        assert_once_in_order(&setup.rows().await, 9);
        assert!(
            app.probe.count("called b 1 attempt 1") + app.probe.count("called e 5 attempt 1") > 2,
            "one was redone"
        );
        app.settle_for_hours(2).await;
        let calls = app.probe.log().into_iter().filter(|noted| noted.starts_with("called x 4"));
        assert_eq!(calls.collect::<Vec<_>>(), [1, 2, 3].map(|attempt| format!("called x 4 attempt {attempt}")));
        assert_eq!(app.dead().await.iter().map(|letter| letter.attempts).collect::<Vec<_>>(), [3]);
        let others = app.probe.log().into_iter().filter(|noted| noted.contains("attempt 2"));
        assert_eq!(others.count(), 1, "nobody else's was counted");
    })
    .await;
}

/// Each of two handlers of a message has its own outcome.
#[tokio::test]
async fn g9_a_handler_that_fails_in_a_batch_does_not_fail_the_one_beside_it() {
    bounded(async {
        let setup = Setup::start().await;
        setup.app.probe.fail("fail beside 2", 2);
        setup.publish(numbered(["a", "b", "c", "d", "e", "f"])).await;
        assert_once_in_order(&setup.rows().await, 6);
        assert_eq!(setup.app.rows().await.len(), 11);
        setup.app.settle_an_hour_later().await;
        assert_eq!((setup.app.rows().await.len(), setup.app.dead().await.len()), (12, 0));
        assert!(setup.app.rows().await.contains(&"beside c 2".to_owned()));
    })
    .await;
}

/// Of six messages of as many keys the fourth fails once, in the way that is named here: the others are handled, and it is
/// when it is tried again.
async fn the_fourth_fails_alone(setup: &Setup, how: &str) {
    setup.app.probe.fail(how, 2);
    setup.publish(numbered(["a", "b", "c", "d", "e", "f"])).await;
    assert_once_in_order(&setup.rows().await, 5);
    assert_eq!(setup.app.stored().await.1, 1);
    setup.app.settle_an_hour_later().await;
    assert_once_in_order(&setup.rows().await, 6);
    assert_eq!(setup.app.probe.count("called d 3 attempt 2"), 1);
}

#[tokio::test]
async fn g3_a_panic_in_a_batch_is_a_failed_attempt_of_its_message_alone() {
    bounded(async { the_fourth_fails_alone(&Setup::start().await, "panic 3").await }).await;
}

/// What is the user's outside of the handler may panic as well: the message has failed then, and no other.
#[tokio::test]
async fn g3_an_error_whose_text_panics_is_a_failed_attempt_of_its_message_alone() {
    bounded(async { the_fourth_fails_alone(&Setup::start().await, "unspeakable 3").await }).await;
}

#[tokio::test]
async fn an_attempt_that_outlasts_its_deadline_in_a_batch_fails_its_message_alone() {
    bounded(async {
        // One turn: a second one would wait for the writer whom the slow attempt keeps waiting, and outlast its own deadline.
        let settings = Settings::from_toml("deadline = '2s'\n[group.batches]\nconcurrency = 1").unwrap();
        let setup = Setup::with(|probe| support::app(probe).settings(settings)).await;
        the_fourth_fails_alone(&setup, "sleep 3").await;
    })
    .await;
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "batches.timed", topic = "batches.timed", key = key)]
struct Timed {
    key: String,
    number: u32,
}

/// One turn, as where a deadline is outlasted.
#[event_handler(group = "batches.timed", concurrency = 1, timeout = "2s", fallback = timed_by_hand)]
async fn timed(e: &Timed, tx: &mut Tx<Sqlite>, events: &mut Events, probe: Inject<Probe>) -> Result<(), BoxError> {
    write(tx, format!("{} {}", e.key, e.number)).await?;
    events.raise(Written { key: e.key.clone(), number: e.number });
    probe.note(format!("timed {}", e.number));
    if probe.try_it(&format!("hang {}", e.number)).is_err() {
        std::future::pending::<()>().await;
    }
    Ok(())
}

#[fallback]
async fn timed_by_hand(e: &Timed, _cause: Cause<BoxError>, tx: &mut Tx<Sqlite>) -> Result<(), BoxError> {
    Ok(write(tx, format!("by hand {}", e.number)).await?)
}

fn timed_message(key: &str, number: u32) -> Outgoing {
    let id = Uuid::now_v7();
    let delivery = message("batches.timed", "batches.timed", id, &serde_json::json!({"key": key, "number": number}));
    Outgoing { id, delivery: delivery.key(key) }
}

/// What it has written is undone, its fallback's row is there once, and the others are handled as if nothing had been.
#[tokio::test]
async fn g7_a_fallback_after_a_timeout_among_others_that_come_at_once_has_its_rows_alone() {
    bounded(async {
        let setup = Setup::start().await;
        setup.app.probe.fail("hang 3", u32::MAX);
        setup
            .publish(
                ["a", "b", "c", "d", "e", "f"].into_iter().zip(0..).map(|(key, n)| timed_message(key, n)).collect(),
            )
            .await;
        let (mut rows, app) = (setup.rows().await, &setup.app);
        rows.sort_unstable();
        assert_eq!(rows, ["a 0", "b 1", "by hand 3", "c 2", "e 4", "f 5"]);
        assert_eq!((app.counts().await.unwrap().inbox, app.stored().await, app.dead().await.len()), (6, (0, 0), 0));
        let mut written: Vec<u32> = app.events::<Written>().iter().map(|written| written.number).collect();
        written.sort_unstable();
        assert_eq!(written, [0, 1, 2, 4, 5]);
        for number in 0..6 {
            assert_eq!(app.probe.count(&format!("timed {number}")), 1);
        }
        // The same messages once more are known, that of the fallback too.
        assert_eq!(setup.watch.count("commit"), 6);
    })
    .await;
}

/// SQLite ends the transaction by itself, and the handler goes on: what the next message writes must not be committed by
/// itself, nor be written twice.
#[tokio::test]
async fn g7_a_handler_that_swallows_the_end_of_the_transaction_takes_no_other_message_with_it() {
    bounded(async {
        let setup = Setup::start().await;
        setup.app.probe.fail("swallow 2", u32::MAX);
        setup.publish(numbered(["a", "b", "c", "d", "e", "f"])).await;
        setup.app.settle_for_hours(3).await;
        assert_once_in_order(&setup.rows().await, 5);
        assert_eq!(setup.app.dead().await.len(), 1);
        assert_eq!(setup.app.events::<Written>().len(), 5);
    })
    .await;
}

#[tokio::test]
async fn g9_duplicates_in_a_batch_and_across_batches_have_their_effects_once() {
    bounded(async {
        let setup = Setup::start().await;
        let events: Vec<Uuid> = (0..20).map(|_| Uuid::now_v7()).collect();
        // Without a key, so that all of them are in batches together.
        let all = || events.iter().zip(0..20).map(|(event, number)| outgoing(*event, "", number));
        setup.publish(all().chain(all()).collect()).await;
        setup.publish(all().chain(all()).rev().collect()).await;
        assert_once_in_order(&setup.rows().await, 20);
        let app = &setup.app;
        assert_eq!((app.rows().await.len(), app.counts().await.unwrap().inbox), (40, 40));
        assert_eq!((app.events::<Written>().len(), app.dead().await.len()), (20, 0));
    })
    .await;
}

/// A commit that is refused, and one whose answer is lost: the batch is done again one by one, and the marks say what has
/// happened.
#[tokio::test]
async fn g3_g9_a_batch_whose_commit_is_refused_or_unknown_has_its_effects_once() {
    bounded(async {
        for count in ["refused", "lost"] {
            let setup = Setup::start().await;
            let steered = if count == "lost" { &setup.watch.lose_answers } else { &setup.watch.refuse_commits };
            let (app, publish) = (&setup.app, |messages| {
                let broker = setup.broker.clone();
                tokio::spawn(async move { broker.publish(messages).await })
            });
            app.probe.close("batched");
            // Both turns are taken, one of them waits for the writer: what comes meanwhile is one batch.
            let first = publish(vec![outgoing(Uuid::now_v7(), "y", 98), outgoing(Uuid::now_v7(), "z", 99)]);
            app.probe.arrived("batched").await;
            let batch = publish(numbered(["a", "b", "c", "d", "e", "f"]));
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                app.probe.open("batched");
                app.probe.arrived("batched").await;
            }
            assert_eq!(app.probe.log().last().map(String::as_str), Some("called a 0 attempt 1"));
            steered.store(1, Ordering::SeqCst);
            let commits = setup.watch.count("commit");
            (0..20).for_each(|_| app.probe.open("batched"));
            first.await.unwrap();
            batch.await.unwrap();
            app.settle().await;
            // That of the batch, and where it did not happen each message's own, of either handler.
            assert_eq!(setup.watch.count("commit") - commits, if count == "lost" { 1 } else { 13 }, "{count}");
            assert_once_in_order(&setup.rows().await, 8);
            assert_eq!((steered.load(Ordering::SeqCst), setup.app.dead().await.len()), (0, 0), "{count}");
        }
    })
    .await;
}

/// What takes no transaction runs while none is open, and is marked with the others of its batch.
#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "batches.free", topic = "batches.free")]
struct Free {
    number: u32,
}

#[event_handler(group = "batches.free", concurrency = 1, retry(max = 2, first = "1s"))]
async fn free(e: Free, events: &mut Events, app: &App, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note(format!("free {}", e.number));
    probe.try_it(&format!("fail free {}", e.number))?;
    // A unit of work of its own: were a transaction open, it would be refused.
    app.send(Keep { number: e.number }).await?;
    events.raise(Written { key: "free".to_owned(), number: e.number });
    Ok(())
}

#[derive(Command)]
#[command(error = BoxError)]
struct Keep {
    number: u32,
}

#[command_handler]
async fn keep(cmd: Keep, tx: &mut Tx<Sqlite>) -> Result<(), BoxError> {
    Ok(write(tx, format!("kept {}", cmd.number)).await?)
}

fn free_message(number: u32) -> Outgoing {
    let payload = serde_json::json!({"number": number});
    Outgoing { id: Uuid::now_v7(), delivery: message("batches.free", "batches.free", Uuid::now_v7(), &payload) }
}

#[tokio::test]
async fn handlers_without_a_transaction_share_the_one_of_their_marks() {
    bounded(async {
        let setup = Setup::start().await;
        setup.publish((0..60).map(free_message).collect()).await;
        let (app, commits) = (&setup.app, setup.watch.count("commit"));
        assert_eq!((app.rows().await.len(), app.counts().await.unwrap().inbox), (60, 60));
        assert_eq!(app.events::<Written>().len(), 60);
        assert!(commits - 60 < 10, "{commits}, of which the commands' are 60");
    })
    .await;
}

/// What such a handler did outside of the store is not done again because another message of the batch failed.
#[tokio::test]
async fn one_without_a_transaction_that_fails_has_none_of_the_others_called_again() {
    bounded(async {
        let setup = Setup::start().await;
        setup.app.probe.fail("fail free 7", 2);
        setup.publish((0..20).map(free_message).collect()).await;
        let app = &setup.app;
        for number in (0..20).filter(|number| *number != 7) {
            assert_eq!(app.probe.count(&format!("free {number}")), 1, "{:?}", app.probe.log());
        }
        assert_eq!((app.rows().await.len(), app.stored().await.1), (19, 1));
        app.settle_an_hour_later().await;
        assert_eq!((app.rows().await.len(), app.probe.count("free 7"), app.dead().await.len()), (20, 3, 0));
    })
    .await;
}

/// A middleware is around the unit of work of its message: with one, each message has a transaction of its own.
#[tokio::test]
async fn a_middleware_sees_each_message_and_its_commit() {
    bounded(async {
        let setup = Setup::with(support::with_middleware).await;
        setup.publish(numbered(["a", "b", "c", "d"])).await;
        let probe = &setup.app.probe;
        assert_eq!(probe.count("> outer batches.batched"), 8, "two handlers each: {:?}", probe.log());
        assert_once_in_order(&setup.rows().await, 4);
    })
    .await;
}
