//! What a broker must be able to do.
//!
//! Publishing is by batch and pipelined: the driver hands the whole batch to the broker before it waits for the first
//! confirmation. Consuming is by batch and settled by receipt: Kafka maps receipts to offsets and commits the highest
//! contiguous one of each partition, AMQP to delivery tags, NATS to acks. A driver keeps its membership in the group
//! alive on its own while nobody calls `receive`: that is how a busy consumer pauses.

use std::fmt;

use uuid::Uuid;

use super::{BrokerError, Delivery};
use crate::store::driver::BoxFuture;

/// A message on its way to the broker.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The event's id, for brokers that can deduplicate.
    pub id: Uuid,
    /// Topic, key, headers and bytes.
    pub delivery: Delivery,
}

/// What a consumer subscribes to.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The consumer group.
    pub group: String,
    /// The topics, without repeats.
    pub topics: Vec<String>,
    /// At most so many messages that are not settled.
    pub prefetch: usize,
}

/// Names a message that was received, until it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt(pub u64);

/// A message that was received.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Its receipt.
    pub receipt: Receipt,
    /// Topic, key, headers and bytes.
    pub delivery: Delivery,
}

/// How a received message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// Handled, or stored: the broker may forget it.
    Done,
    /// Handed back: the broker delivers it again.
    Return,
}

/// A broker, connected.
pub trait Driver: Send + Sync + fmt::Debug + 'static {
    /// The broker's name, as error texts say it: `memory`.
    fn name(&self) -> &'static str;

    /// Whether what is published in one process reaches the consumers of another.
    ///
    /// With a broker that lives in its process, the process that publishes must consume as well: nobody else can, and
    /// what finds no consumer would be confirmed unseen.
    fn crosses_processes(&self) -> bool {
        true
    }

    /// Publishes a batch, in order for each key. Gives one result per message, in the batch's order; a message is
    /// published when the broker has confirmed it.
    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>>;

    /// Joins a consumer group.
    ///
    /// # Errors
    /// Fails when the broker cannot be reached or refuses.
    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>>;

    /// Closes the broker: from then on everything fails with [`Closed`](super::BrokerErrorKind::Closed). What is published but
    /// not confirmed is waited for, where the broker confirms by itself; what no answer comes for, fails. In memory a confirmation
    /// takes a handler, and is not waited for.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// One member of a consumer group.
pub trait Consumer: Send + fmt::Debug {
    /// Waits for messages and gives at most `max`. Cancel-safe: dropped while waiting, it loses nothing.
    ///
    /// # Errors
    /// Fails when the broker cannot be reached for longer than the driver reconnects by itself.
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Incoming>, BrokerError>>;

    /// Settles messages.
    ///
    /// # Errors
    /// Fails when the broker cannot be told: it will deliver them again.
    fn settle(&mut self, settled: Vec<(Receipt, Settlement)>) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// Leaves the group; what is not settled is delivered again.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}
