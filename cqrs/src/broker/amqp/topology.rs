//! The exchanges and queues that a topic is made of, and how they are declared.
//!
//! A topic is a durable fanout exchange of its name, to which anybody publishes, with any routing key. A group binds a
//! direct exchange of its own to it, which leads to the queue of each slot by the slot's number. What has another routing
//! key, because somebody else published it, goes by the alternate exchange to the first queue.

use std::num::NonZeroU16;

use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use sha2::{Digest as _, Sha256};

use super::fault::{ACCESS_REFUSED, Fault, NOT_FOUND, PRECONDITION_FAILED};
use crate::broker::{BrokerErrorKind, Declare};

/// The slot of a key: the first 8 bytes of its SHA-256, as a big-endian number, modulo the count of slots.
pub(super) fn slot_of(key: &str, slots: NonZeroU16) -> u16 {
    let mut number = [0; 8];
    number.copy_from_slice(&Sha256::digest(key.as_bytes())[..8]);
    // Less than a `u16`.
    u16::try_from(u64::from_be_bytes(number) % u64::from(slots.get())).unwrap_or_default()
}

/// What a group's part of a topic is called on the server.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) topic: String,
    prefix: String,
}

impl Names {
    pub(super) fn new(group: &str, topic: &str) -> Self {
        Self { topic: topic.to_owned(), prefix: format!("{}:{}", escape(group), escape(topic)) }
    }

    /// The exchange that leads to the group's queues.
    fn exchange(&self) -> String {
        self.prefix.clone()
    }

    /// The exchange for what has no slot.
    fn rest(&self) -> String {
        format!("{}:rest", self.prefix)
    }

    /// The queue that every member consumes and nobody publishes to: its consumers are the members.
    pub(super) fn members(&self) -> String {
        format!("{}:members", self.prefix)
    }

    /// The queue of a slot.
    pub(super) fn queue(&self, slot: u16) -> String {
        format!("{}:{slot}", self.prefix)
    }
}

/// So that no two pairs of a group and a topic have names in common.
fn escape(name: &str) -> String {
    name.replace('%', "%25").replace(':', "%3A")
}

/// What is declared, and how.
#[derive(Debug)]
pub(super) struct Topology {
    declare: Declare,
    pub(super) slots: NonZeroU16,
}

impl Topology {
    pub(super) fn new(declare: Declare, slots: NonZeroU16) -> Self {
        Self { declare, slots }
    }

    /// Sees to the exchange of a topic.
    pub(super) async fn topic(&self, connection: &Connection, topic: &str) -> Result<(), Fault> {
        if self.declare == Declare::Leave {
            return Ok(());
        }
        let mut desk = Desk::new(connection);
        self.topic_exchange(&mut desk, topic).await?;
        desk.close().await;
        Ok(())
    }

    /// Sees to everything that a group has of a topic. Binds it to the topic last: before, it gets nothing, so that
    /// nothing takes the way of what has no slot because its queue is not there yet.
    pub(super) async fn group(&self, connection: &Connection, names: &Names) -> Result<(), Fault> {
        if self.declare == Declare::Leave {
            return Ok(());
        }
        let mut desk = Desk::new(connection);
        self.topic_exchange(&mut desk, &names.topic).await?;
        self.exchange(&mut desk, &names.rest(), ExchangeKind::Fanout, FieldTable::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("alternate-exchange".into(), AMQPValue::LongString(names.rest().into()));
        self.exchange(&mut desk, &names.exchange(), ExchangeKind::Direct, arguments).await?;
        for slot in 0..self.slots.get() {
            self.queue(&mut desk, &names.queue(slot), slot_arguments()).await?;
        }
        self.queue(&mut desk, &names.members(), members_arguments()).await?;
        if self.declare == Declare::Create {
            for slot in 0..self.slots.get() {
                desk.bind_queue(&names.queue(slot), &names.exchange(), &slot.to_string()).await?;
            }
            desk.bind_queue(&names.queue(0), &names.rest(), "").await?;
            desk.bind_exchange(&names.exchange(), &names.topic).await?;
        }
        desk.close().await;
        Ok(())
    }

    /// The exchange of a topic; one of type `topic` that is there does as well.
    async fn topic_exchange(&self, desk: &mut Desk<'_>, topic: &str) -> Result<(), Fault> {
        if topic.is_empty() {
            return Err(Fault::new(
                BrokerErrorKind::Configuration,
                "a topic of AMQP has a name, and this one is empty",
            ));
        }
        let declared = self.exchange(desk, topic, ExchangeKind::Fanout, FieldTable::default()).await;
        match declared {
            Err(fault) if fault.text().contains("current is 'topic'") => {
                self.exchange(desk, topic, ExchangeKind::Topic, FieldTable::default()).await
            }
            declared => declared,
        }
    }

    async fn exchange(
        &self,
        desk: &mut Desk<'_>,
        name: &str,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> Result<(), Fault> {
        let short = short("exchange", name)?;
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        if self.declare == Declare::Check {
            let channel = desk.channel().await?;
            let there = channel.exchange_declare(short.clone(), kind.clone(), passive, arguments.clone()).await;
            there.map_err(|error| explain("exchange", name, error))?;
        }
        let channel = desk.channel().await?;
        let fits = channel.exchange_declare(short, kind, durable, arguments).await;
        self.judge("exchange", name, fits)
    }

    async fn queue(&self, desk: &mut Desk<'_>, name: &str, arguments: FieldTable) -> Result<(), Fault> {
        let short = short("queue", name)?;
        if self.declare == Declare::Check {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let there = desk.channel().await?.queue_declare(short.clone(), options, FieldTable::default()).await;
            there.map_err(|error| explain("queue", name, error))?;
        }
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let fits = desk.channel().await?.queue_declare(short, options, arguments).await;
        self.judge("queue", name, fits.map(|_| ()))
    }

    /// Who may not declare may not compare either: where nothing is to be made, that something is there has to do.
    fn judge(&self, what: &str, name: &str, fits: lapin::Result<()>) -> Result<(), Fault> {
        let fault = match fits {
            Ok(()) => return Ok(()),
            Err(error) => explain(what, name, error),
        };
        if self.declare == Declare::Check && fault.code() == Some(ACCESS_REFUSED) { Ok(()) } else { Err(fault) }
    }
}

/// A queue that is written to disk by a majority, gives its messages to one consumer at a time, and drops none.
///
/// From 4.0 on a server drops what it has delivered more than 20 times, where nothing is said. What it documents as no
/// limit, -1, is for a server before 4.0 a limit that each message is over; a limit that none reaches does for both.
fn slot_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(i32::MAX));
    arguments
}

/// A queue that holds nothing.
fn members_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    arguments
}

/// A name as AMQP carries it.
pub(super) fn short(what: &str, name: &str) -> Result<ShortString, Fault> {
    ShortString::try_new(name).map_err(|_| {
        let what = format!("the name of the {what} `{name}` has {} bytes, and AMQP takes 255", name.len());
        Fault::new(BrokerErrorKind::Configuration, what)
    })
}

/// What is wrong with an exchange or queue, and what mends it.
pub(super) fn explain(what: &str, name: &str, error: lapin::Error) -> Fault {
    let mut fault = Fault::of(String::new(), error);
    let mend = match (fault.kind, fault.code()) {
        (BrokerErrorKind::Configuration, Some(NOT_FOUND)) => {
            "is missing: make it, or let the app make it by `Declare::Create`"
        }
        (BrokerErrorKind::Configuration, Some(PRECONDITION_FAILED)) => {
            "is there with other properties than the app declares: delete it once it is empty, or use another name"
        }
        (BrokerErrorKind::Configuration, Some(ACCESS_REFUSED)) => {
            "is not the user's to use or to declare: grant the permission, or make it and say `Declare::Check` or `Declare::Leave`"
        }
        _ => "cannot be declared or used",
    };
    fault.what = format!("the {what} `{name}` {mend}");
    fault
}

/// A channel for declarations: the server closes it with each that it refuses.
struct Desk<'a> {
    connection: &'a Connection,
    channel: Option<Channel>,
}

impl<'a> Desk<'a> {
    fn new(connection: &'a Connection) -> Self {
        Self { connection, channel: None }
    }

    async fn channel(&mut self) -> Result<&Channel, Fault> {
        if !self.channel.as_ref().is_some_and(|channel| channel.status().connected()) {
            let opened = self.connection.create_channel().await;
            self.channel = Some(opened.map_err(|error| Fault::of("no channel can be opened", error))?);
        }
        self.channel.as_ref().ok_or_else(Fault::closed)
    }

    async fn bind_queue(&mut self, queue: &str, exchange: &str, key: &str) -> Result<(), Fault> {
        let (source, options) = (short("exchange", exchange)?, QueueBindOptions::default());
        let channel = self.channel().await?;
        let bound =
            channel.queue_bind(short("queue", queue)?, source, key.into(), options, FieldTable::default()).await;
        bound.map_err(|error| explain("queue", queue, error))
    }

    /// Binds an exchange for everything: one of type `topic` reads the key as that, and one of type `fanout` not at all.
    async fn bind_exchange(&mut self, exchange: &str, source: &str) -> Result<(), Fault> {
        let (from, options) = (short("exchange", source)?, ExchangeBindOptions::default());
        let to = short("exchange", exchange)?;
        let bound = self.channel().await?.exchange_bind(to, from, "#".into(), options, FieldTable::default()).await;
        bound.map_err(|error| explain("exchange", exchange, error))
    }

    async fn close(self) {
        if let Some(channel) = self.channel {
            // It goes with the connection otherwise.
            let _ = channel.close(200, "declared".into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::{Names, slot_of};

    #[test]
    fn the_slot_of_a_key_is_what_others_compute() {
        // int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % slots
        let slot = |key: &str, slots| slot_of(key, NonZeroU16::new(slots).unwrap());
        assert_eq!([slot("", 8), slot("42", 8), slot("order-7", 8), slot("\u{e9}", 8)], [4, 5, 7, 3]);
        assert_eq!(slot("42", 1), 0);
        assert!((0..100).all(|key| slot(&key.to_string(), 3) < 3));
    }

    #[test]
    fn names_of_different_pairs_differ() {
        let queue = |group, topic| Names::new(group, topic).queue(0);
        assert_eq!(queue("billing", "orders"), "billing:orders:0");
        assert_ne!(queue("a:b", "c"), queue("a", "b:c"));
        assert_ne!(queue("a%3Ab", "c"), queue("a:b", "c"));
    }
}
