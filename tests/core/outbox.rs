//! G8: what was committed is published, whatever stops in between.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::broker::driver::{Consumer, Driver, Outgoing, Settlement, Subscription};
use cqrs::broker::{BrokerError, BrokerErrorKind, MemoryBroker};
use cqrs::prelude::*;
use cqrs::sqlx;
use cqrs::store::DeadSource;
use cqrs::store::driver::BoxFuture;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{Harness, Probe, Running, bounded, directory, on_file, write};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "shipped", topic = "shipping", key = id)]
struct Shipped {
    id: u32,
}

#[derive(Command)]
#[command(error = sqlx::Error)]
struct Ship {
    id: u32,
}

#[command_handler]
async fn ship(cmd: Ship, tx: &mut Tx<sqlx::Sqlite>, events: &mut Events) -> Result<(), sqlx::Error> {
    write(tx, format!("ship {}", cmd.id)).await?;
    events.raise(Shipped { id: cmd.id });
    Ok(())
}

#[event_handler(group = "shipping")]
async fn shipped(e: Shipped, meta: &Meta, probe: Inject<Probe>) {
    probe.note(format!("shipped {}", e.id));
    probe.note(meta.id().to_string());
    probe.pass("shipped").await;
    probe.note("done");
}

async fn ids(probe: &Probe) -> Vec<String> {
    let ids: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT id FROM cqrs_outbox ORDER BY seq").fetch_all(&probe.pool()).await.unwrap();
    ids.iter().map(|id| Uuid::from_slice(id).unwrap().to_string()).collect()
}

#[tokio::test]
async fn g8_what_was_committed_before_a_stop_is_published_after_the_restart_under_its_id() {
    bounded(async {
        let directory = directory();
        let file = directory.path().join("shop.db");
        let probe = Arc::new(Probe::default());
        let first = on_file(&file, &probe, |builder| builder).await;
        for id in 0..3 {
            first.send(Ship { id }).await.unwrap();
        }
        assert_eq!(first.counts().await.unwrap().outbox, 3, "nobody ran it");
        let mut stored = ids(&probe).await;
        stored.sort();
        first.shutdown().await;

        let probe = Arc::new(Probe::default());
        let second = Running::start(on_file(&file, &probe, |builder| builder).await);
        probe.noted("done", 3).await;
        second.stop().await;
        // Each has a key of its own: in any order.
        let mut published: Vec<_> = probe.log().into_iter().filter(|noted| noted.len() == 36).collect();
        published.sort();
        assert_eq!(published, stored);

        let third = on_file(&file, &probe, |builder| builder).await;
        assert_eq!((third.counts().await.unwrap().outbox, probe.rows().await.len()), (0, 3));
        third.shutdown().await;
    })
    .await;
}

/// The memory broker confirms when the handling is committed: what was only delivered is delivered again.
#[tokio::test]
async fn g8_g9_what_was_published_and_not_handled_outlives_a_kill() {
    bounded(async {
        let directory = directory();
        let file = directory.path().join("shop.db");
        let probe = Arc::new(Probe::default());
        let runtime = std::thread::spawn({
            let (file, probe) = (file.clone(), Arc::clone(&probe));
            // A process of its own would be killed; a runtime that is dropped ends every task where it stands.
            move || {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                probe.close("shipped");
                runtime.block_on(async {
                    let app = Running::start(on_file(&file, &probe, |builder| builder).await).app;
                    app.send(Ship { id: 1 }).await.unwrap();
                    probe.arrived("shipped").await;
                });
                runtime.shutdown_background();
            }
        });
        tokio::task::spawn_blocking(|| runtime.join().unwrap()).await.unwrap();
        assert_eq!(probe.count("done"), 0);

        let probe = Arc::new(Probe::default());
        let again = Running::start(on_file(&file, &probe, |builder| builder).await);
        // What the dead process held is taken up when its lease has run out.
        probe.noted("done", 1).await;
        again.stop().await;
        assert_eq!(probe.count("shipped 1"), 1);
    })
    .await;
}

/// A broker that does not confirm: the relay keeps the row, and holds no transaction while it waits.
#[tokio::test]
async fn g8_the_relay_holds_no_transaction_while_it_waits_for_the_broker() {
    bounded(async {
        let broker = MemoryBroker::new();
        let subscription = Subscription { group: "slow".into(), topics: vec!["shipping".into()], prefetch: 10 };
        let mut consumer = broker.subscribe(subscription).await.unwrap();
        let driver = Broker::driver(broker.clone());
        let app = Harness::with(|builder| builder.run(["relay"]).broker(driver)).await;
        app.send(Ship { id: 1 }).await.unwrap();
        let received = consumer.receive(1).await.unwrap();
        // Others write and commit while the broker has not answered.
        app.send(Ship { id: 2 }).await.unwrap();
        assert_eq!((app.rows().await.len(), app.stored().await.0), (2, 2));
        consumer.settle(vec![(received[0].receipt, Settlement::Done)]).await.unwrap();
        let received = consumer.receive(1).await.unwrap();
        consumer.settle(vec![(received[0].receipt, Settlement::Done)]).await.unwrap();
        app.settle().await;
        assert_eq!(app.stored().await.0, 0);
    })
    .await;
}

/// A broker that is gone: rows wait for it.
#[tokio::test]
async fn g8_rows_outlive_a_broker_that_fails() {
    bounded(async {
        let directory = directory();
        let file = directory.path().join("shop.db");
        let probe = Arc::new(Probe::default());
        let broken = MemoryBroker::new();
        let app = on_file(&file, &probe, |builder| builder.run(["relay"]).broker(Broker::driver(broken.clone()))).await;
        broken.close().await;
        let running = Running::start(app);
        running.app.send(Ship { id: 7 }).await.unwrap();
        running.stop().await;
        let probe = Arc::new(Probe::default());
        let running = Running::start(on_file(&file, &probe, |builder| builder).await);
        probe.noted("shipped 7", 1).await;
        running.stop().await;
    })
    .await;
}

/// A broker that refuses some messages for good.
#[derive(Debug, Clone)]
struct Picky(MemoryBroker, Arc<Probe>);

impl Driver for Picky {
    fn name(&self) -> &'static str {
        "picky"
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        Box::pin(async move {
            let mut results = Vec::new();
            for outgoing in batch {
                let key = outgoing.delivery.message_key().unwrap_or_default().to_owned();
                if self.1.try_it(&key).is_err() {
                    results.push(Err(BrokerError::new(BrokerErrorKind::Refused, format!("never {key}"))));
                } else {
                    results.extend(self.0.publish(vec![outgoing]).await);
                }
            }
            results
        })
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        if self.1.try_it(&subscription.group).is_err() {
            let what = format!("`{}` may not subscribe", subscription.group);
            return Box::pin(std::future::ready(Err(BrokerError::new(BrokerErrorKind::Refused, what))));
        }
        if self.1.try_it(&format!("reach {}", subscription.group)).is_err() {
            let down = BrokerError::new(BrokerErrorKind::Unavailable, "nobody is there");
            return Box::pin(std::future::ready(Err(down)));
        }
        self.1.note(subscription.group.clone());
        self.0.subscribe(subscription)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

#[tokio::test]
async fn g10_g11_what_a_broker_refuses_is_a_dead_letter_that_holds_its_key_and_nothing_else() {
    bounded(async {
        let refusing = Arc::new(Probe::default());
        refusing.fail("1", 1);
        let broker = Broker::driver(Picky(MemoryBroker::new(), refusing));
        let app = Harness::with(|builder| builder.broker(broker)).await;
        for id in [1, 2] {
            app.send(Ship { id }).await.unwrap();
        }
        app.settle().await;
        app.send(Ship { id: 1 }).await.unwrap();
        app.settle().await;
        assert_eq!((app.probe.count("shipped 2"), app.probe.count("shipped 1")), (1, 0));
        let dead = app.dead().await;
        assert_eq!((dead.len(), dead[0].name.as_str(), dead[0].key.as_deref()), (1, "shipped", Some("1")));
        assert_eq!((dead[0].id.source, dead[0].topic.as_str()), (DeadSource::Outbox, "shipping"));
        assert!(dead[0].error.contains("never 1") && dead[0].attempts >= 1, "{dead:?}");
        assert!(String::from_utf8_lossy(&dead[0].payload).contains(&dead[0].message_id.to_string()));
        assert!(app.replay(dead[0].id).await.unwrap());
        app.settle().await;
        assert_eq!((app.probe.count("shipped 1"), app.dead().await.len(), app.stored().await.0), (2, 0, 0));
    })
    .await;
}

/// Writes down what it is given, and cannot be reached the first time.
#[derive(Debug, Clone)]
struct Recording {
    inner: MemoryBroker,
    given: Arc<Mutex<Vec<(Uuid, String)>>>,
}

impl Driver for Recording {
    fn name(&self) -> &'static str {
        "recording"
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        let mut given = self.given.lock().unwrap();
        let is_first = given.is_empty();
        let header = |outgoing: &Outgoing| outgoing.delivery.headers().get("event_id").cloned().unwrap_or_default();
        given.extend(batch.iter().map(|outgoing| (outgoing.id, header(outgoing))));
        if is_first {
            let down = |_| Err(BrokerError::new(BrokerErrorKind::Unavailable, "not yet"));
            return Box::pin(std::future::ready(batch.iter().map(down).collect()));
        }
        self.inner.publish(batch)
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        self.inner.subscribe(subscription)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

/// A broker that can tell repeats tells them by the id it is given with a message.
#[tokio::test]
async fn g8_the_broker_is_given_the_events_id_the_same_with_every_attempt() {
    bounded(async {
        let given: Arc<Mutex<Vec<_>>> = Arc::default();
        let broker = Recording { inner: MemoryBroker::new(), given: Arc::clone(&given) };
        let app = Harness::with(|builder| builder.broker(Broker::driver(broker))).await;
        app.send(Ship { id: 1 }).await.unwrap();
        while given.lock().unwrap().len() < 2 {
            app.advance(Duration::from_secs(60)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        app.settle().await;
        let given = given.lock().unwrap().clone();
        let (id, header) = &given[0];
        assert_eq!(&id.to_string(), header, "the header says the same");
        assert_eq!(given, [given[0].clone(), given[0].clone()], "the first attempt failed, the second did not");
        assert_eq!(app.probe.log()[..2], ["shipped 1".to_owned(), id.to_string()], "and the handler is told it");
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_fails_at_run_shuts_the_app_down_with_its_error() {
    bounded(async {
        let directory = directory();
        let (probe, refusing) = (Arc::new(Probe::default()), Arc::new(Probe::default()));
        refusing.fail("shipping", 1);
        let inner = MemoryBroker::new();
        let broker = Broker::driver(Picky(inner.clone(), Arc::clone(&refusing)));
        let app = on_file(&directory.path().join("shop.db"), &probe, |builder| builder.broker(broker)).await;
        let error = app.run_until(std::future::pending()).await.unwrap_err();
        assert!(matches!(error, cqrs::Error::Broker(_)), "{error:?}");
        assert!(error.to_string().contains("`shipping` may not subscribe"), "{error}");
        // What had begun by then has ended as well.
        assert!(!refusing.log().is_empty(), "it was not the first");
        assert_eq!(app.health(), cqrs::Health::Stopped);
        assert!(app.send(Ship { id: 1 }).await.unwrap_err().to_string().contains("shutting down"));
        let late = Subscription { group: "late".into(), topics: vec!["shipping".into()], prefetch: 1 };
        assert!(inner.subscribe(late).await.is_err(), "the broker is closed");
    })
    .await;
}

/// The relay looks once an hour, unless it is woken.
#[tokio::test]
async fn the_relay_is_woken_directly_after_the_commit() {
    bounded(async {
        let settings = Settings::from_toml("relay = { poll_first = '1h', poll_ceiling = '1h' }").unwrap();
        let app = Harness::with(|builder| builder.settings(settings)).await;
        // It has looked, and found nothing.
        tokio::time::sleep(Duration::from_millis(300)).await;
        app.send(Ship { id: 1 }).await.unwrap();
        app.probe.noted("shipped 1", 1).await;
    })
    .await;
}

/// The app runs all the same, says what is missing, and consumes once the broker is there.
#[tokio::test]
async fn a_broker_that_cannot_be_reached_at_the_start_is_tried_again() {
    bounded(async {
        let directory = directory();
        let (probe, refusing) = (Arc::new(Probe::default()), Arc::new(Probe::default()));
        refusing.fail("reach shipping", u32::MAX);
        let broker = Broker::driver(Picky(MemoryBroker::new(), Arc::clone(&refusing)));
        let app = on_file(&directory.path().join("shop.db"), &probe, |builder| builder.broker(broker)).await;
        let running = Running::start(app);
        while running.app.health() != cqrs::Health::Connecting {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!refusing.log().contains(&"shipping".to_owned()) && !refusing.log().is_empty());
        refusing.fail("reach shipping", 0);
        while running.app.health() != cqrs::Health::Running {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        running.app.send(Ship { id: 1 }).await.unwrap();
        probe.noted("shipped 1", 1).await;
        running.stop().await;

        // One that is told to stop meanwhile stops.
        refusing.fail("reach shipping", u32::MAX);
        let broker = Broker::driver(Picky(MemoryBroker::new(), refusing));
        let app = on_file(&directory.path().join("shop.db"), &probe, |builder| builder.broker(broker)).await;
        let running = Running::start(app);
        while running.app.health() != cqrs::Health::Connecting {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        running.stop().await;
    })
    .await;
}
