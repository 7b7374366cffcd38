//! What the cases are made of: a topic and a group of their own, members, publishers.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ledger::{Ledger, Numbered};
use super::{Fixture, fail};
use crate::broker::driver::{Consumer, Driver, Incoming, Outgoing, Settlement, Subscription};
use crate::broker::{BrokerError, BrokerErrorKind};

/// A pause before something is tried again.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// A topic and a group that nobody else uses.
pub(super) struct Scene<'a> {
    pub(super) fixture: &'a dyn Fixture,
    pub(super) driver: Arc<dyn Driver>,
    pub(super) topic: String,
    pub(super) group: String,
}

impl<'a> Scene<'a> {
    pub(super) fn new(fixture: &'a dyn Fixture) -> Self {
        let name = |what| format!("cqrs-{what}-{}", Uuid::new_v4().simple());
        Self { fixture, driver: fixture.connect(), topic: name("topic"), group: name("group") }
    }

    /// Lets a member into the group, by a driver of its own.
    pub(super) async fn join(&self, prefetch: usize) -> Box<dyn Consumer> {
        self.join_group(&self.group, prefetch).await
    }

    pub(super) async fn join_group(&self, group: &str, prefetch: usize) -> Box<dyn Consumer> {
        let driver = self.fixture.connect();
        let subscription = Subscription { group: group.into(), topics: vec![self.topic.clone()], prefetch };
        loop {
            match driver.subscribe(subscription.clone()).await {
                Ok(consumer) => return consumer,
                Err(error) if error.is_retryable() => sleep(PAUSE).await,
                Err(error) => fail(format_args!("the group cannot be joined: {error:?}")),
            }
        }
    }

    /// Publishes while the case goes on: a broker may wait with its confirmation until the message is handled.
    pub(super) fn publish(&self, batch: Vec<Outgoing>) -> Publishing {
        let driver = Arc::clone(&self.driver);
        Publishing(tokio::spawn(async move { driver.publish(batch).await }))
    }

    pub(super) fn publish_numbered(&self, messages: &[Numbered]) -> Publishing {
        self.publish(messages.iter().map(|message| message.outgoing(&self.topic)).collect())
    }

    /// Publishes as the relay does: what failed is published again, in its order, until it is confirmed.
    pub(super) fn publish_surely(&self, messages: Vec<Numbered>, batch: usize) -> JoinHandle<()> {
        let (driver, topic) = (Arc::clone(&self.driver), self.topic.clone());
        tokio::spawn(async move {
            for messages in messages.chunks(batch) {
                let mut left: Vec<_> = messages.iter().map(|message| message.outgoing(&topic)).collect();
                while !left.is_empty() {
                    let results = driver.publish(left.clone()).await;
                    assert_eq!(results.len(), left.len(), "one result for each message");
                    let failed = left.into_iter().zip(results).filter_map(|(outgoing, result)| {
                        let error = result.err()?;
                        let kind = error.kind();
                        assert_eq!(kind, BrokerErrorKind::Unavailable, "publishing fails for good: {error:?}");
                        Some(outgoing)
                    });
                    left = failed.collect();
                    if !left.is_empty() {
                        sleep(PAUSE).await;
                    }
                }
            }
        })
    }
}

/// A call of `publish` under way.
pub(super) struct Publishing(JoinHandle<Vec<Result<(), BrokerError>>>);

impl Publishing {
    pub(super) async fn results(self) -> Vec<Result<(), BrokerError>> {
        self.0.await.unwrap_or_else(|error| fail(format_args!("publishing panicked: {error}")))
    }

    /// Waits until all of `count` are confirmed.
    pub(super) async fn all_confirmed(self, count: usize) {
        let results = self.results().await;
        assert_eq!(results.len(), count, "one result for each message");
        if let Some(error) = results.into_iter().find_map(Result::err) {
            fail(format_args!("a message is not confirmed: {error:?}"));
        }
    }
}

/// Messages of some keys, the first of each first.
pub(super) fn numbered(keys: u32, each: u32) -> Vec<Numbered> {
    (0..each).flat_map(|number| (0..keys).map(move |key| Numbered::new(format!("key {key}"), number))).collect()
}

/// Receives, trying again while the broker cannot be reached.
pub(super) async fn receive(consumer: &mut dyn Consumer, max: usize) -> Vec<Incoming> {
    loop {
        match consumer.receive(max).await {
            Ok(incoming) => {
                assert!(incoming.len() <= max, "{} messages where {max} were asked for", incoming.len());
                return incoming;
            }
            Err(error) if error.is_retryable() => sleep(PAUSE).await,
            Err(error) => fail(format_args!("nothing can be received: {error:?}")),
        }
    }
}

/// Receives until there are `count`, settling nothing.
pub(super) async fn receive_exactly(consumer: &mut dyn Consumer, count: usize) -> Vec<Incoming> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(receive(consumer, count - all.len()).await);
    }
    all
}

/// Settles messages, all in one way. A broker that cannot be told will deliver again.
pub(super) async fn settle(consumer: &mut dyn Consumer, incoming: &[Incoming], how: Settlement) {
    let settled = incoming.iter().map(|incoming| (incoming.receipt, how)).collect();
    if let Err(error) = consumer.settle(settled).await {
        assert!(error.is_retryable(), "nothing can be settled: {error:?}");
    }
}

/// Receives `count` messages one by one, settles each as done, and gives them in their order.
pub(super) async fn take(consumer: &mut dyn Consumer, count: usize) -> Vec<Numbered> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let incoming = receive(consumer, 1).await;
        settle(consumer, &incoming, Settlement::Done).await;
        taken.extend(incoming.iter().map(|incoming| Numbered::read(&incoming.delivery)));
    }
    taken
}

/// How a member goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    Closing,
    /// As where a task is cancelled: dropped with what it holds.
    Dropped,
}

/// A member of the group that handles what it is handed, until it is told to go.
pub(super) struct Member {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Member {
    pub(super) fn start(name: usize, consumer: Box<dyn Consumer>, ledger: &Ledger, going: Going) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(work(name, consumer, ledger.clone(), going, stop.clone()));
        Self { stop, task }
    }

    pub(super) async fn go(self) {
        self.stop.cancel();
        self.task.await.unwrap_or_else(|error| fail(format_args!("a member failed: {error}")));
    }
}

async fn work(name: usize, mut consumer: Box<dyn Consumer>, ledger: Ledger, going: Going, stop: CancellationToken) {
    while let Some(incoming) = stop.run_until_cancelled(receive(&mut *consumer, 8)).await {
        let read: Vec<_> = incoming.iter().map(|incoming| Numbered::read(&incoming.delivery)).collect();
        for message in &read {
            ledger.handed(name, message);
        }
        sleep(Duration::from_millis(1)).await;
        if going == Going::Dropped && stop.is_cancelled() {
            break;
        }
        for (incoming, message) in incoming.iter().zip(&read) {
            ledger.done(name, message);
            settle(&mut *consumer, std::slice::from_ref(incoming), Settlement::Done).await;
        }
    }
    ledger.leaves(name);
    match going {
        Going::Closing => consumer.close().await,
        Going::Dropped => drop(consumer),
    }
}
