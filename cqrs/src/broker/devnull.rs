//! The broker that keeps nothing, for tests of what publishes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::driver::{Consumer, Driver, Incoming, Outgoing, Receipt, Settlement, Subscription};
use super::{BrokerError, BrokerErrorKind, Delivery};
use crate::store::driver::BoxFuture;

/// How many messages are remembered, for a test to look at.
const REMEMBERED: usize = 1_000;

/// A broker that confirms every message and delivers none. It remembers the last 1,000, for tests. Clones share everything.
///
/// An app that starts with it warns: what is published here is gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use cqrs::broker::DevnullBroker;
/// use cqrs::broker::driver::{Driver, Outgoing};
///
/// let broker = DevnullBroker::new();
/// let delivery = cqrs::Delivery::new("orders", b"{}".to_vec()).key("42");
/// broker.publish(vec![Outgoing { id: uuid::Uuid::now_v7(), delivery }]).await;
/// assert_eq!(broker.published()[0].message_key(), Some("42"));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct DevnullBroker {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    published: VecDeque<Delivery>,
    closed: bool,
}

impl DevnullBroker {
    /// What it is called, in URLs as well.
    pub(super) const NAME: &str = "devnull";

    /// Makes one that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The last messages that were published, oldest first; at most 1,000.
    #[must_use]
    pub fn published(&self) -> Vec<Delivery> {
        self.lock().published.iter().cloned().collect()
    }

    /// No code that can panic runs under the lock, so a poisoned one would still hold a sound state.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for DevnullBroker {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        let mut inner = self.lock();
        let closed = inner.closed;
        let answers = batch.iter().map(|_| if closed { Err(is_closed()) } else { Ok(()) }).collect();
        if !closed {
            inner.published.extend(batch.into_iter().map(|outgoing| outgoing.delivery));
            let over = inner.published.len().saturating_sub(REMEMBERED);
            inner.published.drain(..over);
        }
        Box::pin(std::future::ready(answers))
    }

    fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        let answer = if self.lock().closed { Err(is_closed()) } else { Ok(Box::new(Nothing) as Box<dyn Consumer>) };
        Box::pin(std::future::ready(answer))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.lock().closed = true;
        Box::pin(std::future::ready(()))
    }
}

impl fmt::Debug for DevnullBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevnullBroker").field("published", &self.lock().published.len()).finish_non_exhaustive()
    }
}

/// A consumer to whom nothing comes.
#[derive(Debug)]
struct Nothing;

impl Consumer for Nothing {
    fn receive(&mut self, _: usize) -> BoxFuture<'_, Result<Vec<Incoming>, BrokerError>> {
        Box::pin(std::future::pending())
    }

    fn settle(&mut self, _: Vec<(Receipt, Settlement)>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn is_closed() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Closed, "the devnull broker is closed")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::{DevnullBroker, REMEMBERED};
    use crate::broker::driver::{Driver, Outgoing, Subscription};
    use crate::broker::{BrokerErrorKind, Delivery};

    fn message(number: usize) -> Outgoing {
        Outgoing { id: Uuid::now_v7(), delivery: Delivery::new("t", number.to_string()) }
    }

    #[tokio::test]
    async fn it_confirms_everything_and_remembers_the_last() {
        let broker = DevnullBroker::new();
        assert!(broker.publish((0..REMEMBERED + 5).map(message).collect()).await.iter().all(Result::is_ok));
        assert!(broker.publish(vec![message(REMEMBERED + 5)]).await[0].is_ok());
        let published = broker.published();
        assert_eq!(published.len(), REMEMBERED);
        assert_eq!(published[0].payload(), b"6");
        assert_eq!(published[REMEMBERED - 1].payload(), (REMEMBERED + 5).to_string().as_bytes());
    }

    #[tokio::test]
    async fn it_delivers_nothing_and_can_be_closed() {
        let broker = DevnullBroker::new();
        let subscription = Subscription { group: "g".into(), topics: vec!["t".into()], prefetch: 1 };
        let mut consumer = broker.subscribe(subscription.clone()).await.unwrap();
        broker.publish(vec![message(1)]).await;
        assert!(tokio::time::timeout(Duration::from_millis(30), consumer.receive(1)).await.is_err());
        broker.close().await;
        assert_eq!(broker.publish(vec![message(2)]).await[0].as_ref().unwrap_err().kind(), BrokerErrorKind::Closed);
        assert_eq!(broker.subscribe(subscription).await.unwrap_err().kind(), BrokerErrorKind::Closed);
        assert_eq!(broker.published().len(), 1);
    }
}
