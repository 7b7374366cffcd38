//! Every group and every durable handler has a limit of its own, for first deliveries and retries together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cqrs::broker::MemoryBroker;
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{Harness, Probe, Refused, Running, bounded, directory, message, on_file, publish};

const HOUR: Duration = Duration::from_secs(3600);

/// How many calls are under way, and the most there were.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[provider]
fn gauge() -> Gauge {
    Gauge::default()
}

#[derive(Query)]
#[query(response = usize)]
struct MostAtOnce;

#[query_handler]
async fn most_at_once(_q: MostAtOnce, gauge: Inject<Gauge>) -> usize {
    gauge.most.load(Ordering::SeqCst)
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "limits.narrow", topic = "limits.narrow")]
struct Narrow {
    number: u32,
}

/// Turns are counted here, and a batch has one.
#[event_handler(group = "narrow", concurrency = 2, batch = 1)]
async fn narrow(e: Narrow, probe: Inject<Probe>, gauge: Inject<Gauge>) -> Result<(), Refused> {
    probe.try_it(&format!("narrow {}", e.number))?;
    gauge.enter();
    probe.pass("narrow").await;
    gauge.leave();
    probe.note("narrow");
    Ok(())
}

#[derive(DomainEvent, Serialize, Deserialize)]
struct Blocking;

#[event_handler(durable)]
async fn blocking(_e: &Blocking, probe: Inject<Probe>, gauge: Inject<Gauge>) {
    gauge.enter();
    probe.pass("blocking").await;
    gauge.leave();
    probe.note("blocking");
}

#[derive(DomainEvent, Serialize, Deserialize)]
struct Free;

#[event_handler(durable)]
async fn free(_e: &Free, probe: Inject<Probe>, events: &mut Events) {
    probe.note("free");
    events.send(Freed);
}

#[derive(Command, Serialize, Deserialize)]
#[command(name = "limits.freed")]
struct Freed;

#[command_handler]
async fn freed(_cmd: Freed, probe: Inject<Probe>) {
    probe.note("freed");
}

#[tokio::test]
async fn what_a_group_tries_again_and_what_is_new_share_its_limit() {
    bounded(async {
        let app = Harness::start().await;
        for number in 0..4 {
            app.probe.fail(&format!("narrow {number}"), 2);
            app.publish(Narrow { number }).await.unwrap();
        }
        app.settle().await;
        assert_eq!((app.stored().await.1, app.probe.log().len()), (4, 0));

        app.probe.close("narrow");
        for number in 4..8 {
            app.publish(Narrow { number }).await.unwrap();
        }
        app.probe.arrived("narrow").await;
        app.probe.arrived("narrow").await;
        app.advance(HOUR).await;
        // Claimed together with the retries, which are older.
        app.publish(Free).await.unwrap();
        app.probe.noted("freed", 1).await;
        for _ in 0..8 {
            app.probe.open("narrow");
        }
        app.settle().await;
        assert_eq!((app.probe.count("narrow"), app.query(MostAtOnce).await.unwrap()), (8, 2));
        assert_eq!((app.stored().await, app.dead().await.len()), ((0, 0), 0));
    })
    .await;
}

#[tokio::test]
async fn what_is_new_does_not_keep_away_for_ever_what_is_tried_again() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("narrow 0", 1);
        app.publish(Narrow { number: 0 }).await.unwrap();
        app.settle().await;
        app.probe.close("narrow");
        for number in 1..40 {
            app.publish(Narrow { number }).await.unwrap();
        }
        app.probe.arrived("narrow").await;
        app.advance(HOUR).await;
        app.publish(Free).await.unwrap();
        app.probe.noted("freed", 1).await;
        // In line behind the few that were received before it, not behind all the others.
        for _ in 0..16 {
            app.probe.open("narrow");
        }
        app.probe.noted("narrow", 16).await;
        // The one that is tried again is among them: nobody else passes now.
        while app.stored().await.1 > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 16..40 {
            app.probe.open("narrow");
        }
        app.settle().await;
    })
    .await;
}

#[tokio::test]
async fn a_durable_handler_that_is_busy_keeps_no_other_waiting() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.close("blocking");
        for _ in 0..12 {
            app.publish(Blocking).await.unwrap();
        }
        for _ in 0..8 {
            app.probe.arrived("blocking").await;
        }
        app.publish(Free).await.unwrap();
        app.probe.noted("freed", 1).await;
        for _ in 0..12 {
            app.probe.open("blocking");
        }
        app.settle().await;
        assert_eq!((app.probe.count("blocking"), app.query(MostAtOnce).await.unwrap()), (12, 8));
    })
    .await;
}

#[derive(Command, Serialize, Deserialize)]
#[command(name = "limits.ring")]
struct Ring;

#[command_handler]
async fn ring(_cmd: Ring, probe: Inject<Probe>) {
    probe.note("rang");
}

/// Something else is due, and to claim it the worker waits for whoever writes: what comes from the broker does not.
#[tokio::test]
async fn what_comes_from_the_broker_does_not_wait_for_a_claim_that_waits_for_its_turn_to_write() {
    bounded(async {
        let (directory, broker) = (directory(), MemoryBroker::new());
        let probe = std::sync::Arc::default();
        let file = directory.path().join("turns.db");
        let app = on_file(&file, &probe, |builder| builder.broker(Broker::driver(broker.clone()))).await;
        let running = Running::start(app);
        running.app.schedule(Ring).after(Duration::from_millis(500)).await.unwrap();
        let writer = running.app.unit::<Sqlite>().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let sent = tokio::spawn(async move {
            let id = Uuid::now_v7();
            let delivery = message("limits.narrow", "limits.narrow", id, &serde_json::json!({"number": 1}));
            publish(&broker, id, delivery).await;
        });
        // A write is waited for five seconds at most, and in between the worker would let go of what it holds.
        let handled = tokio::time::timeout(Duration::from_secs(3), probe.noted("narrow", 1)).await;
        assert!(handled.is_ok() && probe.count("rang") == 0, "{:?}", probe.log());
        drop(writer);
        probe.noted("rang", 1).await;
        sent.await.unwrap();
        running.stop().await;
    })
    .await;
}
