//! Time that is moved makes things due; it takes nothing away from whoever is busy with it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::broker::driver::{Consumer, Driver, Outgoing, Subscription};
use cqrs::broker::{BrokerError, BrokerErrorKind};
use cqrs::prelude::*;
use cqrs::store::driver::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::support::{Harness, Probe, bounded};

const HOUR: Duration = Duration::from_secs(3600);

#[derive(DomainEvent, Serialize, Deserialize)]
struct Long;

#[event_handler(durable)]
async fn long(_e: &Long, meta: &Meta, probe: Inject<Probe>) {
    probe.note(format!("long {}", meta.attempt()));
    probe.pass("long").await;
}

#[derive(DomainEvent, Serialize, Deserialize)]
struct Short;

#[event_handler(durable)]
async fn short(_e: &Short, probe: Inject<Probe>) {
    probe.note("short");
}

#[tokio::test]
async fn moving_the_time_past_the_lease_does_not_run_again_what_is_being_done() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.close("long");
        app.publish(Long).await.unwrap();
        app.probe.arrived("long").await;
        for times in 1..=2 {
            app.advance(HOUR).await;
            // Claimed after the clock was moved: whatever had run out was taken back by then.
            app.publish(Short).await.unwrap();
            app.probe.noted("short", times).await;
        }
        app.probe.open("long");
        app.settle().await;
        assert_eq!(app.probe.log(), ["long 1", "short", "short"]);
    })
    .await;
}

/// Takes what it is given when the test says so, and remembers the ids.
#[derive(Debug, Clone)]
struct Slow(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    taken: Mutex<Vec<uuid::Uuid>>,
    arrived: Semaphore,
    pass: Semaphore,
}

impl Driver for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        Box::pin(async move {
            self.0.taken.lock().unwrap().extend(batch.iter().map(|outgoing| outgoing.id));
            self.0.arrived.add_permits(1);
            self.0.pass.acquire().await.unwrap().forget();
            batch.iter().map(|_| Ok(())).collect()
        })
    }

    fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        Box::pin(async { Err(BrokerError::new(BrokerErrorKind::Configuration, "nothing to be had")) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(topic = "moved")]
struct Moved;

#[tokio::test]
async fn moving_the_time_past_the_lease_does_not_publish_again_what_is_on_its_way() {
    bounded(async {
        let hands = Hands { taken: Mutex::default(), arrived: Semaphore::new(0), pass: Semaphore::new(0) };
        let broker = Slow(Arc::new(hands));
        let driver = broker.clone();
        let app = Harness::with(|builder| builder.run(["relay"]).broker(Broker::driver(driver))).await;
        app.publish(Moved).await.unwrap();
        broker.0.arrived.acquire().await.unwrap().forget();
        app.advance(HOUR).await;
        app.publish(Moved).await.unwrap();
        broker.0.arrived.acquire().await.unwrap().forget();
        broker.0.pass.add_permits(9);
        app.settle().await;
        assert_eq!(broker.0.taken.lock().unwrap().len(), 2);
    })
    .await;
}
