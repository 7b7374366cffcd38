//! A member of a group: a task for each slot keeps a channel to its queue, and puts what comes in hand.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::fault::Fault;
use super::hand::{Ack, Hand, Slot};
use super::link::Link;
use super::message;
use super::topology::{Names, Topology, explain, short};
use crate::broker::driver::{Consumer, Incoming, Receipt, Settlement, Subscription};
use crate::broker::{BrokerError, BrokerErrorKind, Delivery};
use crate::retry::{RetryPolicy, random};
use crate::store::driver::BoxFuture;

/// How long an outage lasts before who receives is told of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long closing waits for the server.
const CLOSING: Duration = Duration::from_secs(5);

/// A message as it came.
#[derive(Debug)]
struct Raw {
    topic: usize,
    properties: BasicProperties,
    payload: Vec<u8>,
}

/// What the tasks of a member share.
pub(super) struct Member {
    link: Arc<Link>,
    topology: Arc<Topology>,
    group: String,
    topics: Vec<Names>,
    prefetch: u16,
    inner: Mutex<Inner>,
    /// Something may be there to give out, or to tell.
    news: Notify,
    /// On which connection the queues of each topic were declared.
    declared: tokio::sync::Mutex<HashMap<usize, u64>>,
}

struct Inner {
    hand: Hand<Raw>,
    channels: Vec<Option<Channel>>,
    /// Since when slots fail.
    down: Option<Instant>,
    /// What who receives is told.
    trouble: Option<Fault>,
}

impl Member {
    pub(super) fn new(link: Arc<Link>, topology: Arc<Topology>, subscription: Subscription) -> Self {
        let Subscription { group, topics, prefetch } = subscription;
        let topics: Vec<_> = topics.iter().map(|topic| Names::new(&group, topic)).collect();
        let slots = topics.len() * usize::from(topology.slots.get());
        let inner = Inner {
            hand: Hand::new(slots, prefetch),
            channels: (0..slots).map(|_| None).collect(),
            down: None,
            trouble: None,
        };
        Self {
            link,
            topology,
            group,
            topics,
            prefetch: u16::try_from(prefetch.max(1)).unwrap_or(u16::MAX),
            inner: Mutex::new(inner),
            news: Notify::new(),
            declared: tokio::sync::Mutex::default(),
        }
    }

    /// No code that can panic runs under the lock, so a poisoned one would still hold a sound state.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Declares what is the group's, so that nothing that is published from now on passes it by. A server that cannot be
    /// reached is waited for later, like one that goes away later.
    pub(super) async fn declare(&self) -> Result<(), Fault> {
        for topic in 0..self.topics.len() {
            let declared = async {
                let connected = self.link.get().await?;
                self.declare_topic(&connected, topic).await
            };
            match declared.await {
                Err(fault) if fault.kind == BrokerErrorKind::Unavailable => {
                    self.failed(fault);
                    return Ok(());
                }
                declared => declared?,
            }
        }
        Ok(())
    }

    /// Starts a task for each slot, which end with the token.
    pub(super) fn start(self: Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) -> AmqpConsumer {
        for slot in 0..self.lock().channels.len() {
            tasks.spawn(keep(Arc::clone(&self), slot, stop.clone()));
        }
        tasks.close();
        AmqpConsumer { member: self, tasks: tasks.clone(), stop: stop.clone(), _leave: stop.clone().drop_guard() }
    }

    /// Declares a topic's part once for each connection.
    async fn declare_topic(&self, connected: &super::link::Connected, topic: usize) -> Result<(), Fault> {
        let mut declared = self.declared.lock().await;
        if declared.get(&topic) != Some(&connected.generation) {
            self.topology.group(&connected.connection, &self.topics[topic]).await?;
            declared.insert(topic, connected.generation);
        }
        Ok(())
    }

    /// Consumes the queue of a slot until its channel ends.
    async fn consume(&self, slot: Slot) -> Result<(), Fault> {
        let (topic, number) = self.place(slot);
        let queue = self.topics[topic].queue(number);
        let connected = self.link.get().await?;
        self.declare_topic(&connected, topic).await?;
        let opened = connected.connection.create_channel().await;
        let channel = opened.map_err(|error| Fault::of("no channel can be opened", error))?;
        let limited = channel.basic_qos(self.prefetch, BasicQosOptions::default()).await;
        limited.map_err(|error| explain("queue", &queue, error))?;
        let epoch = self.open(slot, channel.clone());
        let name = short("queue", &queue)?;
        let consuming = channel.basic_consume(name, "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let mut consumer = consuming.await.map_err(|error| explain("queue", &queue, error))?;
        self.works();
        while let Some(arrived) = consumer.next().await {
            let arrived = arrived.map_err(|error| explain("queue", &queue, error))?;
            self.arrived(slot, epoch, topic, arrived);
        }
        let what =
            format!("the server ended the consumer of the queue `{queue}`, as it does when the queue is deleted");
        Err(Fault::new(BrokerErrorKind::Unavailable, what))
    }

    fn place(&self, slot: Slot) -> (usize, u16) {
        let slots = usize::from(self.topology.slots.get());
        // Less than a `u16`.
        (slot / slots, u16::try_from(slot % slots).unwrap_or_default())
    }

    fn open(&self, slot: Slot, channel: Channel) -> u64 {
        let mut inner = self.lock();
        inner.channels[slot] = Some(channel);
        inner.hand.open(slot)
    }

    fn arrived(&self, slot: Slot, epoch: u64, topic: usize, arrived: lapin::message::Delivery) {
        let key = message::key(&arrived.properties);
        let lane = key.map(|key| Arc::new((topic, key)));
        let raw = Raw { topic, properties: arrived.properties, payload: arrived.data };
        self.lock().hand.arrive(slot, epoch, arrived.delivery_tag, lane, raw);
        self.news.notify_one();
    }

    /// Forgets the channel of a slot; what it had goes back to the server.
    fn lost(&self, slot: Slot) -> Option<Channel> {
        let mut inner = self.lock();
        inner.hand.lost(slot);
        inner.channels[slot].take()
    }

    fn works(&self) {
        if let Some(since) = self.lock().down.take() {
            tracing::info!(group = self.group, after = ?since.elapsed(), "the AMQP broker gives messages again");
        }
    }

    /// Notes that a slot fails. The log is told once for each outage, and who receives when it cannot mend itself.
    fn failed(&self, fault: Fault) {
        let mut inner = self.lock();
        let since = *inner.down.get_or_insert_with(|| {
            tracing::warn!(
                group = self.group,
                error = fault.line(),
                "the AMQP broker gives no messages; it is tried again"
            );
            Instant::now()
        });
        if fault.kind == BrokerErrorKind::Configuration || since.elapsed() >= PATIENCE {
            inner.trouble = Some(fault);
            drop(inner);
            self.news.notify_one();
        }
    }

    fn take(&self, max: usize) -> Result<Vec<Incoming>, Fault> {
        let mut inner = self.lock();
        if let Some(fault) = inner.trouble.take() {
            return Err(fault);
        }
        let give = |receipt, raw: &Raw| Incoming { receipt, delivery: self.delivery(raw) };
        Ok(inner.hand.take(max.max(1), give))
    }

    fn delivery(&self, raw: &Raw) -> Delivery {
        message::delivery(&self.topics[raw.topic].topic, &raw.properties, &raw.payload)
    }

    /// Settles, and gives the channels that are to be told.
    fn settle(&self, settled: &[(Receipt, Settlement)]) -> Vec<(Channel, Ack)> {
        let mut inner = self.lock();
        let acks = inner.hand.settle(settled);
        let acks = acks.into_iter().filter_map(|ack| Some((inner.channels[ack.slot].clone()?, ack))).collect();
        drop(inner);
        // What is free now, or was handed back, may be given out.
        self.news.notify_one();
        acks
    }
}

/// Keeps a slot consumed.
async fn keep(member: Arc<Member>, slot: Slot, stop: CancellationToken) {
    let mut failures: u32 = 0;
    loop {
        let begun = Instant::now();
        let ended = stop.run_until_cancelled(member.consume(slot)).await;
        let channel = member.lost(slot);
        let Some(ended) = ended else {
            // The server takes back what is not settled and passes it on in order, with the end of the channel; ending
            // the consumer first would pass on what comes behind before it.
            if let Some(channel) = channel {
                let _ = tokio::time::timeout(CLOSING, channel.close(200, "left".into())).await;
            }
            return;
        };
        if let Err(fault) = ended {
            let (topic, _) = member.place(slot);
            // Whatever was there may be gone.
            member.declared.lock().await.remove(&topic);
            member.failed(fault);
        }
        failures = if begun.elapsed() > PATIENCE { 1 } else { failures.saturating_add(1) };
        let pause = RetryPolicy::OUTAGE.pause(failures, random());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("group", &self.group).field("topics", &self.topics).finish_non_exhaustive()
    }
}

/// A member of a group. Dropped, it leaves.
#[derive(Debug)]
pub(super) struct AmqpConsumer {
    member: Arc<Member>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _leave: DropGuard,
}

impl AmqpConsumer {
    async fn wait(&self, max: usize) -> Result<Vec<Incoming>, BrokerError> {
        loop {
            if self.stop.is_cancelled() {
                return Err(Fault::closed().into());
            }
            let incoming = self.member.take(max)?;
            if !incoming.is_empty() {
                return Ok(incoming);
            }
            let _ = self.stop.run_until_cancelled(self.member.news.notified()).await;
        }
    }
}

impl Consumer for AmqpConsumer {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Incoming>, BrokerError>> {
        Box::pin(self.wait(max))
    }

    fn settle(&mut self, settled: Vec<(Receipt, Settlement)>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let acks = self.member.settle(&settled).into_iter().map(|(channel, ack)| async move {
                channel.basic_ack(ack.tag, BasicAckOptions { multiple: ack.multiple }).await
            });
            // All are handed to their channels before the first is waited for.
            match join_all(acks).await.into_iter().find_map(Result::err) {
                None => Ok(()),
                Some(error) => Err(Fault::of("the AMQP broker cannot be told that messages are done", error).into()),
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.stop.cancel();
            self.tasks.wait().await;
        })
    }
}
