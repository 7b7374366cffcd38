//! G3, G11: code of the user's that panics outside of his handlers: reading, describing an error, listening. And what
//! takes long after the commit.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cqrs::broker::driver::{Consumer, Driver, Incoming, Outgoing, Receipt, Settlement, Subscription};
use cqrs::broker::{BrokerError, MemoryBroker};
use cqrs::prelude::*;
use cqrs::store::driver::BoxFuture;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::support::{Harness, Log, Probe, Refused, bounded, message, publish};

/// A field that panics when it is read, where it says so.
#[derive(Clone, Serialize)]
struct Fuse(bool);

impl<'de> Deserialize<'de> for Fuse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lit = bool::deserialize(deserializer)?;
        assert!(!lit, "the fuse burns");
        Ok(Self(lit))
    }
}

/// An error that cannot say what it is.
#[derive(Debug)]
struct Speechless;

impl fmt::Display for Speechless {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Speechless {}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "lit", topic = "fuses")]
struct Lit {
    number: u32,
    fuse: Fuse,
}

#[event_handler(group = "fuses", concurrency = 1, retry(max = 2, first = "1s"))]
async fn lit(e: Lit, probe: Inject<Probe>) -> Result<(), Speechless> {
    probe.note(format!("lit {}", e.number));
    probe.try_it("lit").map_err(|_| Speechless)
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Sparked {
    number: u32,
    fuse: Fuse,
}

#[event_handler(durable, retry(max = 2, first = "1s"))]
async fn sparked(e: &Sparked, probe: Inject<Probe>, events: &mut Events) -> Result<(), Speechless> {
    probe.note(format!("sparked {}", e.number));
    events.raise(Smoke);
    probe.try_it("sparked").map_err(|_| Speechless)
}

#[derive(DomainEvent)]
struct Smoke;

#[event_handler]
async fn smoke(_e: &Smoke, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.pass("smoke").await;
    probe.try_it("smoke")
}

async fn light(broker: &cqrs::broker::MemoryBroker, number: u32, fuse: bool) {
    let id = Uuid::now_v7();
    let body = serde_json::json!({"number": number, "fuse": fuse});
    publish(broker, id, message("fuses", "lit", id, &body).key("k")).await;
}

#[tokio::test]
async fn g11_a_message_whose_reading_panics_is_a_dead_letter_with_its_bytes() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        light(&broker, 1, true).await;
        light(&broker, 2, false).await;
        app.settle().await;
        let dead = app.dead().await;
        assert_eq!((dead.len(), app.probe.log()), (1, Vec::new()), "what follows waits for it");
        assert!(dead[0].error.contains("panicked: the fuse burns"), "{}", dead[0].error);
        assert_eq!(dead[0].payload, br#"{"fuse":true,"number":1}"#);
        app.discard(dead[0].id).await.unwrap();
        app.settle().await;
        assert_eq!(app.probe.log(), ["lit 2"]);
    })
    .await;
}

#[tokio::test]
async fn g3_a_panic_beside_a_consumers_handler_is_a_failed_attempt() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        app.probe.fail("lit", 1);
        light(&broker, 1, false).await;
        light(&broker, 2, false).await;
        app.settle().await;
        assert_eq!((app.probe.log(), app.stored().await.1), (vec!["lit 1".to_owned()], 2));
        app.settle_an_hour_later().await;
        assert_eq!(app.probe.log(), ["lit 1", "lit 1", "lit 2"]);
    })
    .await;
}

#[tokio::test]
async fn g3_a_panic_beside_a_durable_handler_is_a_failed_attempt() {
    bounded(async {
        let app =
            Harness::with(|builder| builder.settings(cqrs::Settings::from_toml("concurrency = 1").unwrap())).await;
        app.probe.fail("sparked", 2);
        app.publish(Sparked { number: 1, fuse: Fuse(false) }).await.unwrap();
        app.settle().await;
        app.settle_an_hour_later().await;
        let dead = app.dead().await;
        assert_eq!((dead.len(), dead[0].attempts, app.probe.count("sparked 1")), (1, 2, 2));
        assert!(dead[0].error.contains("panicked: no words"), "{}", dead[0].error);
        app.publish(Sparked { number: 2, fuse: Fuse(true) }).await.unwrap();
        app.publish(Sparked { number: 3, fuse: Fuse(false) }).await.unwrap();
        app.settle().await;
        assert_eq!((app.dead().await.len(), app.probe.count("sparked 3"), app.stored().await.1), (2, 1, 0));
    })
    .await;
}

/// It has committed by then: what a listener does is no reason to do it again, nor to keep its place.
#[tokio::test]
async fn g3_a_listener_that_panics_neither_brings_work_back_nor_keeps_its_place() {
    bounded(async {
        let log = Log::start();
        let app = Harness::with(|builder| {
            builder
                .settings(cqrs::Settings::from_toml("concurrency = 1").unwrap())
                .on_event_error(|_| panic!("the listener cannot bear it"))
        })
        .await;
        app.probe.fail("smoke", 1);
        for number in [1, 2] {
            app.publish(Sparked { number, fuse: Fuse(false) }).await.unwrap();
        }
        app.settle().await;
        app.settle_an_hour_later().await;
        assert_eq!(app.probe.log(), ["sparked 1", "sparked 2"]);
        assert_eq!((app.dead().await.len(), app.stored().await), (0, (0, 0)));
        let text = log.text();
        assert!(text.contains("listener of `on_event_error` panicked"), "{text}");
        assert!(text.contains("the listener cannot bear it") && !text.contains("tried again"), "{text}");
    })
    .await;
}

#[derive(DomainEvent)]
struct Choked;

#[event_handler(order = 1)]
async fn choke(_e: &Choked) -> Result<(), Speechless> {
    Err(Speechless)
}

#[event_handler(order = 2)]
async fn breathe(_e: &Choked, probe: Inject<Probe>) {
    probe.note("breathed");
}

#[tokio::test]
async fn g6_neither_an_error_without_words_nor_a_panicking_listener_stops_the_other_handlers() {
    bounded(async {
        let log = Log::start();
        let app = Harness::with(|builder| builder.on_event_error(|_| panic!("unheard"))).await;
        app.publish(Choked).await.unwrap();
        assert_eq!((app.probe.log(), app.event_error_count()), (vec!["breathed".to_owned()], 1));
        let text = log.text();
        assert!(text.contains("could not be shown: no words") && text.contains("unheard"), "{text}");
    })
    .await;
}

/// What follows the commit may outlast lease and deadline: the claim ended with the commit, the job did not.
#[tokio::test]
async fn g12_a_job_is_not_taken_for_lost_after_its_own_commit() {
    bounded(async {
        let short = Duration::from_millis(150);
        let app = Harness::with(|builder| {
            builder.settings(cqrs::Settings::from_toml("concurrency = 1").unwrap()).lease(short).deadline(short)
        })
        .await;
        app.probe.close("smoke");
        for number in [1, 2] {
            app.publish(Sparked { number, fuse: Fuse(false) }).await.unwrap();
        }
        app.probe.arrived("smoke").await;
        tokio::time::sleep(4 * short).await;
        assert_eq!(app.probe.log(), ["sparked 1"], "the only place is taken");
        app.probe.open("smoke");
        app.probe.arrived("smoke").await;
        app.probe.open("smoke");
        app.settle().await;
        assert_eq!((app.probe.log().len(), app.dead().await.len(), app.stored().await), (2, 0, (0, 0)));
    })
    .await;
}

/// A broker, of which one member panics when it is first asked for messages.
#[derive(Debug)]
struct Panicky {
    inner: MemoryBroker,
    panicked: AtomicBool,
}

impl Driver for Panicky {
    fn name(&self) -> &'static str {
        "panicky"
    }

    fn crosses_processes(&self) -> bool {
        false
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        self.inner.publish(batch)
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        let panics = subscription.group == "fuses" && !self.panicked.swap(true, Ordering::SeqCst);
        Box::pin(async move {
            let inner = self.inner.subscribe(subscription).await?;
            Ok(Box::new(PanickyMember { inner, panics }) as Box<dyn Consumer>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

#[derive(Debug)]
struct PanickyMember {
    inner: Box<dyn Consumer>,
    panics: bool,
}

impl Consumer for PanickyMember {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Incoming>, BrokerError>> {
        assert!(!self.panics, "told to");
        self.inner.receive(max)
    }

    fn settle(&mut self, settled: Vec<(Receipt, Settlement)>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.inner.settle(settled)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.inner.close()
    }
}

#[tokio::test]
async fn g11_a_group_whose_loop_panics_joins_anew_and_consumes() {
    bounded(async {
        let broker = MemoryBroker::new();
        let panicky = Panicky { inner: broker.clone(), panicked: AtomicBool::new(false) };
        let app = Harness::with(|builder| builder.broker(Broker::driver(panicky))).await;
        let id = Uuid::now_v7();
        let payload = serde_json::json!({"number": 1, "fuse": false});
        publish(&broker, id, message("fuses", "lit", id, &payload)).await;
        app.settle().await;
        assert_eq!(app.probe.log(), ["lit 1"]);
    })
    .await;
}
