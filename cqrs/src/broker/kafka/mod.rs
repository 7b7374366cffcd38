//! Kafka, by librdkafka: an idempotent producer, and consumers whose offsets are committed after what they stand for.
//!
//! `config` reads what is said about the broker, `topics` sees to its topics, `producer` publishes. `consumer` is a member of
//! a group: `state` holds what it was handed and is pure, `poller` is the thread that talks to the broker.

mod alone;
mod config;
mod consumer;
mod error;
mod log;
mod poller;
mod producer;
mod publish;
mod state;
mod topics;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::alone::Alone;
use self::config::Config;
use self::error::closed;
use self::producer::Producer;
use self::topics::Topics;
use super::BrokerError;
use super::driver::{Consumer, Driver, Outgoing, Subscription};
use super::options::BrokerOptions;
use crate::store::driver::BoxFuture;

/// A Kafka cluster.
pub(super) struct KafkaBroker {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    topics: Topics,
    producer: Mutex<Slot>,
    alone: Alone,
}

/// The producer, made when something is published.
enum Slot {
    Empty,
    Open(Producer),
    Closed,
}

impl KafkaBroker {
    /// Judges a URL and options without asking the broker anything.
    pub(super) fn check(url: &str, options: &BrokerOptions) -> Result<(), BrokerError> {
        Config::new(url, options).map(drop)
    }

    pub(super) fn new(url: &str, options: &BrokerOptions) -> Result<Self, BrokerError> {
        let config = Config::new(url, options)?;
        let topics = Topics::new(config.clone());
        Ok(Self {
            shared: Arc::new(Shared { config, topics, producer: Mutex::new(Slot::Empty), alone: Alone::default() }),
        })
    }
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        matches!(&*self.slot(), Slot::Closed)
    }

    /// The producer, a new one where there is none or the last has failed for good.
    fn producer(&self) -> Result<Producer, BrokerError> {
        let mut slot = self.slot();
        match &*slot {
            Slot::Closed => return Err(closed()),
            Slot::Open(producer) if !producer.is_retired() => return Ok(producer.clone()),
            Slot::Open(_) | Slot::Empty => {}
        }
        let producer = Producer::new(&self.config)?;
        *slot = Slot::Open(producer.clone());
        Ok(producer)
    }

    async fn close(&self) {
        let slot = std::mem::replace(&mut *self.slot(), Slot::Closed);
        if let Slot::Open(producer) = slot {
            producer.drain().await;
            producer.retire();
        }
        self.alone.close().await;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Slot::Open(producer) = &*self.slot() {
            producer.retire();
        }
    }
}

impl Driver for KafkaBroker {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        Box::pin(publish::publish(&self.shared, batch))
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        Box::pin(async move {
            if self.shared.is_closed() {
                return Err(closed());
            }
            let consumer = consumer::KafkaConsumer::join(&self.shared, subscription).await?;
            Ok(Box::new(consumer) as Box<dyn Consumer>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.close())
    }
}

impl fmt::Debug for KafkaBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaBroker").field("closed", &self.shared.is_closed()).finish_non_exhaustive()
    }
}
