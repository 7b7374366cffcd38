//! The memory broker: topics, groups and redelivery in one process, with the rules of a real broker and one more.
//!
//! A publish is confirmed when every subscribed group has settled the message as done, not when the broker has it: there
//! is no disk to keep it on, so the outbox row has to outlive the handling. [`state`] and [`group`] hold the rules and
//! know nothing of tasks; this file is the tasks that wait for them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use self::group::{MemberId, Number};
use self::state::{Limits, Published, State};
use super::driver::{Consumer, Driver, Incoming, Outgoing, Receipt, Settlement, Subscription};
use super::lanes::{borrowed, fail_followers, kept_lane_of};
use super::{BrokerError, BrokerErrorKind};
use crate::store::driver::BoxFuture;

mod group;
mod state;
#[cfg(test)]
mod tests;

/// How many messages of one topic may be in flight before publishing to it waits.
const MAX_MESSAGES: usize = 10_000;
/// How many bytes of payload of one topic may be in flight before publishing to it waits.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// A broker in this process's memory, for one-process services and tests. Clones share everything.
///
/// Members of a group share its messages, and messages of a key (within their topic) are handled in order: the next one
/// is not delivered to the group while an earlier one is not settled. What is handed back, or was held by a consumer that
/// is gone, is delivered again before the later messages of its key.
///
/// A publish is confirmed when every group subscribed to the topic has settled the message; with no such group, at once.
/// A group stays subscribed when its consumers have left, until the broker is closed: what is published meanwhile waits
/// for the next one to join. While 10,000 messages or 64 MiB of a topic are in flight, publishing to it waits. A message
/// that is published again while it is in flight (the same id and topic) is not delivered again.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::BoxError> {
/// use cqrs::broker::MemoryBroker;
/// use cqrs::broker::driver::{Driver, Outgoing, Settlement, Subscription};
///
/// let broker = MemoryBroker::new();
/// let mut consumer = broker
///     .subscribe(Subscription { group: "billing".into(), topics: vec!["orders".into()], prefetch: 10 })
///     .await?;
///
/// let publisher = broker.clone();
/// let published = tokio::spawn(async move {
///     let delivery = cqrs::Delivery::new("orders", b"{}".to_vec()).key("42");
///     publisher.publish(vec![Outgoing { id: uuid::Uuid::now_v7(), delivery }]).await
/// });
///
/// let received = consumer.receive(10).await?;
/// assert_eq!(received[0].delivery.message_key(), Some("42"));
/// consumer.settle(vec![(received[0].receipt, Settlement::Done)]).await?;
/// assert!(published.await?[0].is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    /// Something may be deliverable, or the broker is closed.
    deliverable: Notify,
    /// Something was confirmed, or the broker is closed.
    room: Notify,
}

struct Inner {
    state: State,
    /// Who waits for which confirmation; dropped, they learn that the broker is closed.
    waiting: HashMap<Number, Vec<oneshot::Sender<()>>>,
}

/// A published message, until it is confirmed.
enum Pending {
    Confirmed,
    Waiting(oneshot::Receiver<()>),
    Closed,
}

impl MemoryBroker {
    /// Makes a broker without topics or groups.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits { messages: MAX_MESSAGES, bytes: MAX_BYTES })
    }

    fn with_limits(limits: Limits) -> Self {
        let inner = Inner { state: State::new(limits), waiting: HashMap::new() };
        let shared = Shared { inner: Mutex::new(inner), deliverable: Notify::new(), room: Notify::new() };
        Self { shared: Arc::new(shared) }
    }
}

impl Shared {
    /// No code that can panic runs under the lock, so a poisoned one would still hold a sound state.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes one message, waiting while too much of its topic is in flight.
    async fn enter(&self, mut outgoing: Outgoing) -> Pending {
        loop {
            // Made before the state is looked at, so that what happens in between is not missed.
            let room = self.room.notified();
            match self.try_enter(outgoing) {
                Ok(pending) => return pending,
                Err(handed_back) => outgoing = handed_back,
            }
            room.await;
        }
    }

    fn try_enter(&self, outgoing: Outgoing) -> Result<Pending, Outgoing> {
        let mut inner = self.lock();
        match inner.state.publish(outgoing) {
            Published::Confirmed => Ok(Pending::Confirmed),
            Published::Closed => Ok(Pending::Closed),
            Published::Full(outgoing) => Err(outgoing),
            Published::Waiting(number) => {
                let (confirm, confirmed) = oneshot::channel();
                inner.waiting.entry(number).or_default().push(confirm);
                drop(inner);
                self.deliverable.notify_waiters();
                Ok(Pending::Waiting(confirmed))
            }
        }
    }

    fn settle(&self, member: MemberId, settled: &[(Receipt, Settlement)]) -> Result<(), BrokerError> {
        let mut inner = self.lock();
        if inner.state.is_closed() {
            return Err(closed());
        }
        let confirmed = inner.state.settle(member, settled);
        let waiting: Vec<_> = confirmed.iter().filter_map(|number| inner.waiting.remove(number)).flatten().collect();
        drop(inner);
        for waiter in waiting {
            // A publisher that has stopped waiting is not told; that is all.
            let _ = waiter.send(());
        }
        self.deliverable.notify_waiters();
        if !confirmed.is_empty() {
            self.room.notify_waiters();
        }
        Ok(())
    }

    async fn receive(&self, member: MemberId, max: usize) -> Result<Vec<Incoming>, BrokerError> {
        loop {
            let deliverable = self.deliverable.notified();
            {
                let mut inner = self.lock();
                if inner.state.is_closed() {
                    return Err(closed());
                }
                let incoming = inner.state.take(member, max.max(1));
                if !incoming.is_empty() {
                    return Ok(incoming);
                }
            }
            deliverable.await;
        }
    }

    fn leave(&self, member: MemberId) {
        self.lock().state.leave(member);
        self.deliverable.notify_waiters();
    }

    fn close(&self) {
        let mut inner = self.lock();
        inner.state.close();
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        drop(waiting);
        self.deliverable.notify_waiters();
        self.room.notify_waiters();
    }
}

impl Driver for MemoryBroker {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn crosses_processes(&self) -> bool {
        false
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        Box::pin(async move {
            let lanes: Vec<_> = batch.iter().map(|outgoing| kept_lane_of(&outgoing.delivery)).collect();
            let mut pending = Vec::with_capacity(batch.len());
            for outgoing in batch {
                pending.push(self.shared.enter(outgoing).await);
            }
            let mut results = Vec::with_capacity(pending.len());
            for pending in pending {
                results.push(match pending {
                    Pending::Confirmed => Ok(()),
                    Pending::Waiting(confirmed) => confirmed.await.map_err(|_| closed()),
                    Pending::Closed => Err(closed()),
                });
            }
            fail_followers(borrowed(&lanes), &mut results);
            results
        })
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        let member = self.shared.lock().state.subscribe(subscription);
        let shared = Arc::clone(&self.shared);
        Box::pin(std::future::ready(match member {
            Some(member) => Ok(Box::new(MemoryConsumer { shared, member }) as Box<dyn Consumer>),
            None => Err(closed()),
        }))
    }

    /// Closes the broker. What is not confirmed fails with [`BrokerErrorKind::Closed`] instead of being waited for: a
    /// confirmation takes a handler, and the handlers may have stopped already. Its outbox row is published again.
    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.close();
        Box::pin(std::future::ready(()))
    }
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker").field("closed", &self.shared.lock().state.is_closed()).finish_non_exhaustive()
    }
}

/// A member of a group. Dropped, it leaves.
struct MemoryConsumer {
    shared: Arc<Shared>,
    member: MemberId,
}

impl Consumer for MemoryConsumer {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Incoming>, BrokerError>> {
        Box::pin(self.shared.receive(self.member, max))
    }

    fn settle(&mut self, settled: Vec<(Receipt, Settlement)>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(std::future::ready(self.shared.settle(self.member, &settled)))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        drop(self);
        Box::pin(std::future::ready(()))
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.shared.leave(self.member);
    }
}

impl fmt::Debug for MemoryConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConsumer").field("member", &self.member).finish_non_exhaustive()
    }
}

fn closed() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Closed, "the memory broker is closed")
}
