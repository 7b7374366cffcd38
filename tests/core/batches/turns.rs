//! How many batches there are at once, who waits for whom, and what a stop leaves.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::broker::MemoryBroker;
use cqrs::broker::driver::{Driver, Outgoing};
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Setup, assert_once_in_order, numbered, subscribed};
use crate::support::{self, Probe, Refused, Running, bounded, directory, message, on_file};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "batches.turn", topic = "batches.turn", key = key)]
struct Turn {
    key: String,
    number: u32,
}

/// The keys that are being handled, and what was seen of it.
#[derive(Default)]
struct Under {
    now: Mutex<BTreeSet<String>>,
    most: Mutex<usize>,
}

#[provider]
fn under() -> Under {
    Under::default()
}

/// Takes no transaction: on SQLite only so can several run at once.
#[event_handler(group = "batches.turn", concurrency = 3, retry(max = 2, first = "1s"))]
async fn turn(e: Turn, under: Inject<Under>, probe: Inject<Probe>) -> Result<(), Refused> {
    if !e.key.is_empty() && !under.now.lock().unwrap().insert(e.key.clone()) {
        probe.note("a key twice at once");
    }
    {
        let mut most = under.most.lock().unwrap();
        *most = (*most).max(under.now.lock().unwrap().len());
    }
    probe.note(format!("turn {} {}", e.key, e.number));
    probe.pass("turn").await;
    if probe.try_it("slow").is_err() {
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    under.now.lock().unwrap().remove(&e.key);
    probe.try_it(&format!("fail turn {}", e.number))
}

#[derive(Query)]
#[query(response = usize)]
struct MostKeys;

#[query_handler]
async fn most_keys(_q: MostKeys, under: Inject<Under>) -> usize {
    *under.most.lock().unwrap()
}

fn turn_of(key: &str, number: u32) -> Outgoing {
    let id = Uuid::now_v7();
    let delivery = message("batches.turn", "batches.turn", id, &serde_json::json!({"key": key, "number": number}));
    Outgoing { id, delivery: delivery.key(key) }
}

/// As many batches at once as the group's concurrency, each with keys of its own; few messages are spread over them.
#[tokio::test]
async fn as_many_batches_run_at_once_as_the_group_says_and_a_key_is_in_one_of_them() {
    bounded(async {
        let setup = Setup::start().await;
        let probe = &setup.app.probe;
        probe.close("turn");
        let (broker, messages) = (setup.broker.clone(), ["a", "b", "c", "d", "e", "f"]);
        let messages =
            messages.into_iter().cycle().take(30).zip(0..).map(|(key, number)| turn_of(key, number)).collect();
        let published = tokio::spawn(async move { broker.publish(messages).await });
        for _ in 0..3 {
            probe.arrived("turn").await;
        }
        (0..30).for_each(|_| probe.open("turn"));
        published.await.unwrap();
        assert_eq!((setup.app.query(MostKeys).await.unwrap(), probe.count("a key twice at once")), (3, 0));
        let turns: Vec<String> =
            probe.log().iter().filter_map(|noted| noted.strip_prefix("turn ").map(str::to_owned)).collect();
        assert_once_in_order(&turns, 30);
    })
    .await;
}

/// A batch takes on no more after a while: what is slow is committed in between, and others have their turn.
#[tokio::test]
async fn a_batch_of_slow_messages_ends_before_all_of_them_are_done() {
    bounded(async {
        let setup = Setup::start().await;
        setup.app.probe.fail("slow", u32::MAX);
        let messages = (0..24).map(|number| turn_of(&format!("k{number}"), number)).collect();
        setup.publish(messages).await;
        // 8 messages in each of three batches, 120 ms each, two within 200 ms.
        let commits = setup.watch.count("commit");
        assert!((12..=24).contains(&commits), "{commits} transactions");
        assert_eq!(setup.app.counts().await.unwrap().inbox, 24);
    })
    .await;
}

/// What is tried again takes turns with batches, however much there is that is new.
#[tokio::test]
async fn what_is_tried_again_has_its_turn_while_batches_go_on() {
    bounded(async {
        let setup = Setup::start().await;
        let (app, broker) = (&setup.app, setup.broker.clone());
        app.probe.fail("fail turn 0", 1);
        setup.publish(vec![turn_of("first", 0)]).await;
        assert_eq!(app.stored().await.1, 1);
        app.probe.fail("slow", u32::MAX);
        let messages = (1..200).map(|number| turn_of(&format!("k{number}"), number)).collect();
        let published = tokio::spawn(async move { broker.publish(messages).await });
        app.advance(support::HOUR).await;
        app.probe.noted("turn first 0", 2).await;
        let new = app.probe.log().iter().filter(|noted| noted.starts_with("turn k")).count();
        assert!(new < 150, "it was behind {new} new ones");
        app.probe.fail("slow", 0);
        published.await.unwrap();
    })
    .await;
}

/// `batch = 1`, by the settings: a transaction each.
#[tokio::test]
async fn a_group_whose_settings_say_one_has_a_transaction_for_each_message() {
    bounded(async {
        let settings = Settings::from_toml("group.batches.batch = 1").unwrap();
        let setup = Setup::with(|probe| support::app(probe).settings(settings)).await;
        setup.publish(numbered(["a", "b", "c", "d", "e", "f"])).await;
        assert_once_in_order(&setup.rows().await, 6);
        assert_eq!(setup.watch.count("commit"), 12, "two handlers each");
    })
    .await;
}

/// G14: a stop commits what the running batch has done, and the rest is handed back: nothing is lost, nothing is done twice.
#[tokio::test]
async fn g14_a_stop_in_the_middle_of_a_batch_keeps_what_was_done_and_hands_back_the_rest() {
    bounded(async {
        let (directory, broker, probe) = (directory(), MemoryBroker::new(), Arc::new(Probe::default()));
        let file = directory.path().join("app.db");
        subscribed(&broker).await;
        let running = Running::start(on_file(&file, &probe, |app| app.broker(Broker::driver(broker.clone()))).await);
        probe.close("batched");
        let messages = numbered([""; 40]);
        let sent = messages.clone();
        let published = tokio::spawn(async move { broker.publish(sent).await });
        // Some were done in this transaction before the one that waits.
        for _ in 0..3 {
            probe.open("batched");
        }
        for _ in 0..4 {
            probe.arrived("batched").await;
        }
        running.tell();
        tokio::time::sleep(Duration::from_millis(50)).await;
        (0..2).for_each(|_| probe.open("batched"));
        running.ended().await;
        let failed = published.await.unwrap().iter().filter(|result| result.is_err()).count();
        let done = probe.rows().await.iter().filter(|row| !row.starts_with("beside ")).count();
        assert!((1..=6).contains(&done) && failed == 40 - done, "{done} done, {failed} handed back");

        // The same messages again, in another life.
        let (broker, probe) = (MemoryBroker::new(), Arc::new(Probe::default()));
        subscribed(&broker).await;
        let running = Running::start(on_file(&file, &probe, |app| app.broker(Broker::driver(broker.clone()))).await);
        assert!(broker.publish(messages).await.iter().all(Result::is_ok));
        let rows = probe.rows().await;
        assert_once_in_order(&rows.into_iter().filter(|row| !row.starts_with("beside ")).collect::<Vec<_>>(), 40);
        running.stop().await;
    })
    .await;
}

/// And one that takes longer than stopping may take is rolled back.
#[tokio::test]
async fn g14_a_batch_that_outlasts_the_stop_is_rolled_back() {
    bounded(async {
        let (directory, broker, probe) = (directory(), MemoryBroker::new(), Arc::new(Probe::default()));
        let settings = Settings::from_toml("shutdown_timeout = '300ms'").unwrap();
        subscribed(&broker).await;
        let change = |app: cqrs::Builder| app.broker(Broker::driver(broker.clone())).settings(settings);
        let running = Running::start(on_file(&directory.path().join("app.db"), &probe, change).await);
        probe.close("batched");
        let published = tokio::spawn(async move { broker.publish(numbered([""; 12])).await });
        (0..2).for_each(|_| probe.open("batched"));
        for _ in 0..3 {
            probe.arrived("batched").await;
        }
        running.stop().await;
        assert!(published.await.unwrap().iter().any(Result::is_err));
        let rows = probe.rows().await;
        assert!(rows.len() <= 4, "of the batch that was in the middle nothing is there: {rows:?}");
    })
    .await;
}
