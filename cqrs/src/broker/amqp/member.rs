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

use super::balance;
use super::fault::Fault;
use super::hand::{Ack, Hand, Slot};
use super::link::{Connected, Link};
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

/// How many messages of a slot may be on their way at least, if so many may be out at all.
const LEAST_OF_EACH: usize = 16;

/// What the tasks of a member share.
pub(super) struct Member {
    link: Arc<Link>,
    topology: Arc<Topology>,
    group: String,
    topics: Vec<Names>,
    /// How many messages of a slot the server sends before any is acknowledged.
    prefetch: u16,
    inner: Mutex<Inner>,
    /// Something may be there to give out, or to tell.
    news: Notify,
    /// A slot was given up, or what was out of one has ended.
    changes: Notify,
    /// On which connection the queues of each topic were declared.
    declared: tokio::sync::Mutex<HashMap<usize, u64>>,
}

/// The part of each of so many slots in what a member may have in hand: few slots may have most of the keys, so no slot waits for
/// every message to be acknowledged.
fn of_each(prefetch: usize, slots: usize) -> u16 {
    let each = (prefetch / slots.max(1)).max(LEAST_OF_EACH).min(prefetch.max(1));
    u16::try_from(each).unwrap_or(u16::MAX)
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
            prefetch: of_each(prefetch, slots),
            inner: Mutex::new(inner),
            news: Notify::new(),
            changes: Notify::new(),
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
            match self.prepare(topic).await {
                Ok(_) => {}
                Err(fault) if fault.kind == BrokerErrorKind::Unavailable => {
                    self.failed(fault);
                    return Ok(());
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Starts a task for each slot, which end with the token.
    pub(super) fn start(self: Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) -> AmqpConsumer {
        for slot in 0..self.lock().channels.len() {
            tasks.spawn(keep(Arc::clone(&self), slot, stop.clone()));
        }
        for topic in 0..self.topics.len() {
            tasks.spawn(balance::run(Arc::clone(&self), topic, stop.clone()));
        }
        tasks.close();
        AmqpConsumer { member: self, tasks: tasks.clone(), stop: stop.clone(), _leave: stop.clone().drop_guard() }
    }

    /// Declares a topic's part once for each connection.
    async fn declare_topic(&self, connected: &Connected, topic: usize) -> Result<(), Fault> {
        let mut declared = self.declared.lock().await;
        if declared.get(&topic) != Some(&connected.generation) {
            self.topology.group(&connected.connection, &self.topics[topic]).await?;
            declared.insert(topic, connected.generation);
        }
        Ok(())
    }

    /// Connects, and sees to what the slots of a topic need.
    async fn prepare(&self, topic: usize) -> Result<Connected, Fault> {
        let connected = self.link.get().await?;
        self.declare_topic(&connected, topic).await?;
        Ok(connected)
    }

    /// Begins to consume the queue of a slot. Gives the number of the channel as well.
    async fn consume(&self, slot: Slot, connected: &Connected) -> Result<(u64, lapin::Consumer), Fault> {
        let (topic, number) = self.place(slot);
        let queue = self.topics[topic].queue(number);
        let opened = connected.connection.create_channel().await;
        let channel = opened.map_err(|error| Fault::of("no channel can be opened", error))?;
        let limited = channel.basic_qos(self.prefetch, BasicQosOptions::default()).await;
        limited.map_err(|error| explain("queue", &queue, error))?;
        let epoch = self.open(slot, channel.clone());
        let name = short("queue", &queue)?;
        let consuming = channel.basic_consume(name, "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let consumer = consuming.await.map_err(|error| explain("queue", &queue, error))?;
        self.works();
        Ok((epoch, consumer))
    }

    /// Takes what comes in hand, until nothing comes any more.
    async fn pump(&self, slot: Slot, epoch: u64, consumer: &mut lapin::Consumer) -> Fault {
        let (topic, number) = self.place(slot);
        let queue = self.topics[topic].queue(number);
        while let Some(arrived) = consumer.next().await {
            match arrived {
                Ok(arrived) => self.arrived(slot, epoch, topic, arrived),
                Err(error) => return explain("queue", &queue, error),
            }
        }
        let what =
            format!("the server ended the consumer of the queue `{queue}`, as it does when the queue is deleted");
        Fault::new(BrokerErrorKind::Unavailable, what)
    }

    /// Waits until something is true of what is in hand.
    async fn until(&self, is_so: impl Fn(&Hand<Raw>) -> bool) {
        loop {
            // Made before the state is looked at, so that what happens in between is not missed.
            let change = self.changes.notified();
            if is_so(&self.lock().hand) {
                return;
            }
            change.await;
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn names(&self, topic: usize) -> &Names {
        &self.topics[topic]
    }

    /// Gives up what is more than this member's share of a topic, of which there are so many members: the server passes
    /// it on to who has waited longest. What a share is this member learns only from what comes.
    pub(super) fn share(&self, topic: usize, members: u32) {
        let slots = usize::from(self.topology.slots.get());
        let most = slots.div_ceil(usize::try_from(members.max(1)).unwrap_or(usize::MAX));
        let mut inner = self.lock();
        let active = inner.hand.active(topic * slots..(topic + 1) * slots);
        let more = active.len().saturating_sub(most);
        for slot in &active[..more] {
            inner.hand.give_up(*slot);
        }
        drop(inner);
        if more > 0 {
            tracing::debug!(group = self.group, members, more, "queues are passed on to the other members");
            self.changes.notify_waiters();
        }
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

    /// Ends the channel of a slot; what it had goes back to the server.
    async fn end(&self, slot: Slot) {
        let channel = {
            let mut inner = self.lock();
            inner.hand.lost(slot);
            inner.channels[slot].take()
        };
        if let Some(channel) = channel {
            // One that is lost already cannot be closed, which is as good.
            let _ = tokio::time::timeout(CLOSING, channel.close(200, "left".into())).await;
        }
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
        let leaving = inner.hand.is_leaving();
        let acks = inner.hand.settle(settled);
        let acks = acks.into_iter().filter_map(|ack| Some((inner.channels[ack.slot].clone()?, ack))).collect();
        drop(inner);
        if leaving {
            self.changes.notify_waiters();
        }
        // What is free now, or was handed back, may be given out.
        self.news.notify_one();
        acks
    }
}

/// Keeps a slot consumed.
async fn keep(member: Arc<Member>, slot: Slot, stop: CancellationToken) {
    let (topic, _) = member.place(slot);
    let mut failures: u32 = 0;
    loop {
        let begun = Instant::now();
        let Some(prepared) = stop.run_until_cancelled(member.prepare(topic)).await else { return };
        let ended = match prepared {
            Ok(connected) => serve(&member, slot, &connected, &stop).await,
            Err(fault) => Err(fault),
        };
        if stop.is_cancelled() {
            return;
        }
        let Err(fault) = ended else { continue };
        // Whatever was there may be gone.
        member.declared.lock().await.remove(&topic);
        member.failed(fault);
        failures = if begun.elapsed() > PATIENCE { 1 } else { failures.saturating_add(1) };
        let pause = RetryPolicy::OUTAGE.pause(failures, random());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Consumes a slot until it is given up, or the member leaves, or it fails.
///
/// The channel is closed before the consumer is dropped: with the end of the channel the server takes back what is not
/// settled and passes it on in order. Ending the consumer first, as dropping it does, would pass on what is behind that.
async fn serve(member: &Member, slot: Slot, connected: &Connected, stop: &CancellationToken) -> Result<(), Fault> {
    let (epoch, mut consumer) = match member.consume(slot, connected).await {
        Ok(consumed) => consumed,
        Err(fault) => {
            member.end(slot).await;
            return Err(fault);
        }
    };
    let result = tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = member.until(|hand| !hand.is_open(slot)) => {
            // What is out ends here, or it would run here and elsewhere at once.
            let _ = stop.run_until_cancelled(member.until(|hand| !hand.is_out(slot))).await;
            Ok(())
        }
        fault = member.pump(slot, epoch, &mut consumer) => Err(fault),
    };
    member.end(slot).await;
    drop(consumer);
    result
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

#[cfg(test)]
mod tests {
    use super::of_each;

    #[test]
    fn a_slot_is_sent_its_part_and_no_more_than_may_be_out() {
        assert_eq!([of_each(800, 8), of_each(16, 8), of_each(4, 8), of_each(0, 8), of_each(3, 0)], [100, 16, 4, 1, 3]);
        assert_eq!(of_each(usize::MAX, 1), u16::MAX);
    }
}
