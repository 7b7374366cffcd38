//! An app on the memory store: what is stored moves, is tried again, keeps its order, and is done once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::broker::MemoryBroker;
use cqrs::broker::driver::{Driver, Outgoing};
use cqrs::prelude::*;
use cqrs::testing::TestApp;
use cqrs::{BoxError, Broker, Delivery, Store};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What handlers note, and how often each is to fail.
#[derive(Default)]
struct Probe {
    log: Mutex<Vec<String>>,
    failures: Mutex<HashMap<String, u32>>,
}

impl Probe {
    fn fail(&self, what: &str, times: u32) {
        self.failures.lock().unwrap().insert(what.to_owned(), times);
    }

    fn note(&self, what: String) -> Result<(), BoxError> {
        let mut failures = self.failures.lock().unwrap();
        let left = failures.entry(what.clone()).or_default();
        self.log.lock().unwrap().push(what);
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        Err("not yet".into())
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[command(response = u32)]
struct Order {
    id: u32,
}

#[command_handler]
async fn order(cmd: &Order, events: &mut Events, probe: Inject<Probe>) -> Result<u32, BoxError> {
    events.raise(Ordered { id: cmd.id });
    events.raise(OrderedV1 { shop: "one".to_owned(), id: cmd.id });
    probe.note(format!("order {}", cmd.id))?;
    Ok(cmd.id)
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Ordered {
    id: u32,
}

#[event_handler(durable, retry(max = 3, first = "10s", factor = 1.0))]
async fn mail(e: &Ordered, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note(format!("mail {}", e.id))
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "ordered", topic = "orders", key = shop)]
struct OrderedV1 {
    shop: String,
    id: u32,
}

#[event_handler(group = "billing", retry(max = 2, first = "10s"))]
async fn bill(e: OrderedV1, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note(format!("bill {}", e.id))
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Remind {
    text: String,
}

#[command_handler]
async fn remind(cmd: Remind, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note(format!("remind {}", cmd.text))
}

async fn app(broker: &MemoryBroker) -> (TestApp, Arc<Probe>) {
    let probe = Arc::new(Probe::default());
    let builder = cqrs::bootstrap!().store(Store::url("memory:")).broker(Broker::driver(broker.clone()));
    (TestApp::new(builder.provide_arc(Arc::clone(&probe))).await.unwrap(), probe)
}

#[tokio::test]
async fn a_test_app_leaves_the_store_in_memory() {
    let (app, _probe) = app(&MemoryBroker::new()).await;
    app.send(Order { id: 1 }).await.unwrap();
    app.settle().await;
    assert_eq!(std::fs::read_dir(app.directory()).unwrap().count(), 0, "no file was made");
}

#[tokio::test]
async fn durable_handlers_are_tried_again_and_done_once() {
    let (app, probe) = app(&MemoryBroker::new()).await;
    probe.fail("mail 1", 2);
    app.send(Order { id: 1 }).await.unwrap();
    app.settle().await;
    for _ in 0..4 {
        app.advance(Duration::from_secs(60)).await;
        app.settle().await;
    }
    let mut log = probe.log();
    log.sort();
    assert_eq!(log, ["bill 1", "mail 1", "mail 1", "mail 1", "order 1"]);
    let counts = app.counts().await.unwrap();
    assert_eq!((counts.outbox, counts.work, counts.dead), (0, 0, 0));
}

#[tokio::test]
async fn what_a_failed_command_raised_is_not_stored() {
    let (app, probe) = app(&MemoryBroker::new()).await;
    probe.fail("order 1", 1);
    app.send(Order { id: 1 }).await.unwrap_err();
    app.settle().await;
    assert_eq!(probe.log(), ["order 1"]);
}

#[tokio::test]
async fn a_dead_message_holds_back_its_key_until_it_is_replayed() {
    let (app, probe) = app(&MemoryBroker::new()).await;
    probe.fail("bill 1", 2);
    for id in [1, 2] {
        app.send(Order { id }).await.unwrap();
    }
    app.settle().await;
    app.advance(Duration::from_secs(60)).await;
    app.settle().await;
    let billed = || probe.log().into_iter().filter(|noted| noted.starts_with("bill")).collect::<Vec<_>>();
    assert_eq!(billed(), ["bill 1", "bill 1"], "`bill 2` is behind it");
    let letters = app.dead_letters(9).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(app.replay(letters[0].id).await.unwrap());
    app.settle().await;
    assert_eq!(billed(), ["bill 1", "bill 1", "bill 1", "bill 2"]);
}

#[tokio::test]
async fn a_message_that_comes_twice_is_handled_once() {
    let broker = MemoryBroker::new();
    let (app, probe) = app(&broker).await;
    let id = Uuid::now_v7();
    let payload = serde_json::json!({
        "payload": { "shop": "one", "id": 7 }, "event_id": id, "event_timestamp": "2026-01-02T03:04:05Z",
        "event_name": "ordered", "topic": "orders",
    });
    for _ in 0..2 {
        let outgoing = Outgoing { id, delivery: Delivery::new("orders", payload.to_string()).key("one") };
        for confirmed in broker.publish(vec![outgoing]).await {
            confirmed.unwrap();
        }
        app.settle().await;
    }
    assert_eq!(probe.log(), ["bill 7"]);
}

#[tokio::test]
async fn a_timer_is_moved_and_fires_once() {
    let (app, probe) = app(&MemoryBroker::new()).await;
    for (text, after) in [("first", 60), ("second", 120)] {
        app.schedule(Remind { text: text.to_owned() }).key("k").after(Duration::from_secs(after)).await.unwrap();
    }
    for _ in 0..3 {
        app.advance(Duration::from_secs(70)).await;
        app.settle().await;
    }
    assert_eq!(probe.log(), ["remind second"]);
}

#[tokio::test]
async fn a_call_with_an_idempotency_key_runs_once() {
    let (app, probe) = app(&MemoryBroker::new()).await;
    for _ in 0..2 {
        assert_eq!(app.send(Order { id: 3 }).idempotency_key("k").await.unwrap(), 3);
    }
    assert_eq!(probe.log().iter().filter(|noted| *noted == "order 3").count(), 1);
}

/// The suite of every store, called as another crate calls it.
mod conformance {
    use cqrs::store::MemoryStore;
    use cqrs::store::driver::BoxFuture;
    use cqrs::testing::conformance::store::{StoreFixture, cases, check_all};
    use cqrs::{BoxError, Store};

    struct Shared(MemoryStore);

    impl StoreFixture for Shared {
        fn store(&self) -> BoxFuture<'_, Result<Store, BoxError>> {
            Box::pin(std::future::ready(Ok(Store::driver(self.0.clone()))))
        }
    }

    cqrs::testing::store_conformance!(Shared(MemoryStore::new()));

    /// Names no store.
    struct Nowhere;

    impl StoreFixture for Nowhere {
        fn store(&self) -> BoxFuture<'_, Result<Store, BoxError>> {
            Box::pin(std::future::ready(Err("there is none".into())))
        }
    }

    #[tokio::test]
    async fn a_report_names_what_is_broken_with_its_promise() {
        let report = check_all(async || Nowhere).await;
        assert_eq!((report.kept().len(), report.broken().len()), (0, cases().len()));
        let (case, broken) = (&cases()[0], &report.broken()[0]);
        assert_eq!((broken.case(), broken.promise()), (case.name(), case.promise()));
        let said = format!("{}: a promise is broken: {}\n", case.name(), case.promise());
        assert!(broken.to_string().starts_with(&said) && broken.to_string().ends_with("there is none"), "{broken}");
        assert!(report.to_string().ends_with(&format!("\n0 promises kept, {} broken", cases().len())), "{report}");
    }
}
