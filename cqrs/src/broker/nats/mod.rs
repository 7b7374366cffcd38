//! NATS JetStream.
//!
//! A topic is one stream with as many subjects as it has partitions, `orders.0` to `orders.7`; a key always has the same.
//! Its groups do not compete for single messages: the slots are owned, each by one member of the group. Who owns which,
//! and how far each is done, is kept in a bucket of the server ([`table`], [`records`]). [`slot`] holds the rules of one
//! slot; [`reader`] reads it, and [`stored`] what the client cannot read; [`member`] is the task of a member, and [`publish`]
//! the other way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::link::{Link, cause, closed};
use self::member::Member;
use self::shared::Shared;
use super::BrokerError;
use super::driver::{Consumer, Driver, Incoming, Outgoing, Receipt, Settlement, Subscription};
use super::options::BrokerOptions;
use crate::store::driver::BoxFuture;

mod address;
mod headers;
mod link;
mod member;
mod name;
mod publish;
mod reader;
mod records;
mod shared;
mod slot;
mod stored;
mod table;
#[cfg(test)]
mod tests;

/// How long closing waits for what is under way.
const CLOSING: Duration = Duration::from_secs(10);

/// A NATS broker, named by its URL.
pub(super) struct NatsBroker {
    link: Arc<Link>,
    /// Whose turn it is among the slots, for messages without key.
    turn: AtomicU16,
}

impl NatsBroker {
    /// Takes the URL and what else was said. No I/O.
    pub(super) fn new(url: &str, options: BrokerOptions) -> Result<Self, BrokerError> {
        Ok(Self { link: Arc::new(Link::new(url, options)?), turn: AtomicU16::new(0) })
    }

    async fn join(&self, subscription: Subscription) -> Result<Box<dyn Consumer>, BrokerError> {
        if self.link.closed.is_cancelled() {
            return Err(closed());
        }
        if subscription.group.is_empty() {
            return Err(address::wrong("a consumer group has no name"));
        }
        let shared = Arc::new(Shared::new(subscription.prefetch));
        let mut member = Member::new(Arc::clone(&self.link), Arc::clone(&shared), subscription);
        match member.join().await {
            Ok(()) => {}
            // It joins as soon as there is a server.
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, cause = cause(&error), "a group waits for NATS");
            }
            Err(error) => return Err(error),
        }
        let stop = self.link.closed.child_token();
        let task = self.link.tasks.spawn(member.run(stop.clone()));
        Ok(Box::new(NatsConsumer { shared, stop, task: Some(task) }))
    }
}

impl Driver for NatsBroker {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        let under_way = self.link.tasks.token();
        Box::pin(async move {
            let answers = publish::publish(&self.link, &self.turn, batch).await;
            drop(under_way);
            answers
        })
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        Box::pin(self.join(subscription))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.link.closed.cancel();
            self.link.tasks.close();
            if tokio::time::timeout(CLOSING, self.link.tasks.wait()).await.is_err() {
                tracing::warn!("NATS does not answer; it is closed without waiting for what is under way");
            }
        })
    }
}

impl fmt::Debug for NatsBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBroker").field("closed", &self.link.closed.is_cancelled()).finish_non_exhaustive()
    }
}

/// A member of a group. Dropped, it leaves.
struct NatsConsumer {
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Consumer for NatsConsumer {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Incoming>, BrokerError>> {
        Box::pin(self.shared.receive(max))
    }

    /// What is settled is written down a moment later, together with what else is settled by then, and at the latest when
    /// the member leaves: who dies in between has its messages delivered again, and the inbox knows them.
    fn settle(&mut self, settled: Vec<(Receipt, Settlement)>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(std::future::ready(self.shared.settle(settled)))
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        self.stop.cancel();
        let task = self.task.take();
        Box::pin(async move {
            if let Some(task) = task {
                // A member whose task has panicked has left as well: its lease runs out.
                let _ = task.await;
            }
        })
    }
}

impl Drop for NatsConsumer {
    fn drop(&mut self) {
        self.shared.close();
        self.stop.cancel();
    }
}

impl fmt::Debug for NatsConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConsumer").field("left", &self.stop.is_cancelled()).finish_non_exhaustive()
    }
}
