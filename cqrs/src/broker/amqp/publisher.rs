//! Publishing: one task sends everything, so that many small calls share a connection and are pipelined all the same.
//!
//! Each topic has a channel of its own: what the server answers to a bad message is the end of its channel, and must not
//! be that of other topics. A message is published when the server has confirmed it and has not given it back.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use futures_util::future::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::calls::{Calls, Place, Request};
use super::fault::{Fault, PRECONDITION_FAILED};
use super::link::Link;
use super::message;
use super::topology::{Topology, short, slot_of};
use super::waiting::Waiting;
use crate::broker::BrokerErrorKind;
use crate::broker::driver::Outgoing;
use crate::broker::lanes::kept_lane_of;
use crate::store::driver::BoxFuture;

/// How long closing waits for confirmations.
const CLOSING: Duration = Duration::from_secs(10);

/// How long a confirmation is waited for. It comes late where a queue has lost its leader; what was sent may be published
/// all the same, and is published again then.
const CONFIRMING: Duration = Duration::from_mins(1);

/// How long the server may take to declare a topic and open its channel.
const OPENING: Duration = Duration::from_secs(15);

/// What is the same for all that is published.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) link: Arc<Link>,
    pub(super) topology: Arc<Topology>,
    /// Whether a message that no queue takes is an error.
    pub(super) mandatory: bool,
}

/// A message that the server has answered for.
struct Sent {
    place: Place,
    topic: Arc<str>,
    id: String,
    size: usize,
    /// `None` where none came in time.
    answer: Option<Result<Confirmation, lapin::Error>>,
}

/// A channel that was opened for a topic, or why there is none.
struct Opened {
    topic: Arc<str>,
    generation: u64,
    channel: Result<Channel, Fault>,
}

/// What is known of the connection.
#[derive(Debug, Clone, Copy)]
struct Limits {
    generation: u64,
    frame: usize,
    /// What the server says a message has at most, once it has said so.
    message: usize,
}

struct Publisher {
    setup: Setup,
    limits: Limits,
    /// The channel of each topic, or why it has none.
    channels: HashMap<Arc<str>, Result<Channel, Fault>>,
    /// Channels that are being opened, and what waits for them.
    opening: FuturesUnordered<BoxFuture<'static, Opened>>,
    opening_topics: HashSet<Arc<str>>,
    waiting: Waiting,
    calls: Calls,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    /// Topic and id of what the server gave back and has yet to confirm.
    returned: HashSet<(String, String)>,
    /// Where the next message without key goes.
    turn: u16,
}

/// Publishes what is asked for, until it is told to close or nobody can ask any more.
pub(super) async fn run(setup: Setup, mut requests: mpsc::UnboundedReceiver<Request>, closing: CancellationToken) {
    let mut publisher = Publisher {
        setup,
        limits: Limits { generation: 0, frame: 0, message: usize::MAX },
        channels: HashMap::new(),
        opening: FuturesUnordered::new(),
        opening_topics: HashSet::new(),
        waiting: Waiting::default(),
        calls: Calls::default(),
        sending: FuturesUnordered::new(),
        returned: HashSet::new(),
        turn: 0,
    };
    loop {
        tokio::select! {
            biased;
            Some(sent) = publisher.sending.next() => publisher.answered(sent),
            () = closing.cancelled() => break,
            Some(opened) = publisher.opening.next() => publisher.opened(opened),
            request = requests.recv() => match request {
                Some(request) => publisher.take(request, &mut requests).await,
                None => break,
            },
        }
    }
    requests.close();
    for request in publisher.waiting.take_all() {
        request.refuse(&Fault::closed());
    }
    while let Ok(request) = requests.try_recv() {
        request.refuse(&Fault::closed());
    }
    let rest = async {
        while let Some(sent) = publisher.sending.next().await {
            publisher.answered(sent);
        }
    };
    // What is not confirmed by then is published again by whoever kept it.
    let _ = tokio::time::timeout(CLOSING, rest).await;
    publisher.setup.link.close().await;
}

impl Publisher {
    /// Sends a batch. Where the server cannot be reached, everybody who waits is told: trying again for each of them
    /// would keep the last one waiting for long.
    async fn take(&mut self, request: Request, requests: &mut mpsc::UnboundedReceiver<Request>) {
        match self.connect(&request.batch).await {
            Ok(missing) => {
                for request in self.waiting.push(request, missing) {
                    self.send(request);
                }
            }
            Err(fault) => {
                request.refuse(&fault);
                while let Ok(request) = requests.try_recv() {
                    request.refuse(&fault);
                }
            }
        }
    }

    /// Sees to a channel for each topic. Gives the topics whose channels are being opened, for which nothing of other topics
    /// waits; an error is one of the connection.
    async fn connect(&mut self, batch: &[Outgoing]) -> Result<HashSet<String>, Fault> {
        let connected = self.setup.link.get().await?;
        let connection = connected.connection;
        if connection.status().blocked() {
            let what = "the AMQP broker takes no messages: it is short of memory or disk, as its log says";
            return Err(Fault::new(BrokerErrorKind::Unavailable, what));
        }
        if connected.generation != self.limits.generation {
            self.channels.clear();
            let frame = usize::try_from(connection.configuration().frame_max()).unwrap_or(usize::MAX);
            self.limits = Limits { generation: connected.generation, frame, message: usize::MAX };
        }
        let mut missing = HashSet::new();
        for outgoing in batch {
            let topic = outgoing.delivery.topic.as_str();
            let known = self.channels.get(topic);
            if known.is_some_and(|known| known.as_ref().is_ok_and(|channel| channel.status().connected())) {
                continue;
            }
            missing.insert(topic.to_owned());
            self.open(topic, &connection);
        }
        Ok(missing)
    }

    fn open(&mut self, topic: &str, connection: &Arc<Connection>) {
        let topic: Arc<str> = topic.into();
        if !self.opening_topics.insert(Arc::clone(&topic)) {
            return;
        }
        let (topology, connection) = (Arc::clone(&self.setup.topology), Arc::clone(connection));
        let generation = self.limits.generation;
        self.opening.push(Box::pin(async move {
            // A connection that is blocked meanwhile answers nothing.
            let opening = tokio::time::timeout(OPENING, channel(&topology, &connection, &topic)).await;
            let channel = opening.unwrap_or_else(|_| Err(silent(&topic)));
            Opened { topic, generation, channel }
        }));
    }

    /// Sends what has waited for a channel, or says why it has none.
    fn opened(&mut self, opened: Opened) {
        let Opened { topic, generation, mut channel } = opened;
        self.opening_topics.remove(&topic);
        if generation != self.limits.generation {
            let what = format!("the connection to the AMQP broker was lost while a channel for `{topic}` was opened");
            channel = Err(Fault::new(BrokerErrorKind::Unavailable, what));
        }
        self.channels.insert(Arc::clone(&topic), channel);
        for request in self.waiting.opened(&topic) {
            self.send(request);
        }
    }

    fn send(&mut self, request: Request) {
        // Lanes of which something is not even sent: what is behind it would come before it.
        let mut held = HashSet::new();
        for (place, outgoing) in self.calls.begin(request) {
            let lane = kept_lane_of(&outgoing.delivery);
            if lane.as_ref().is_some_and(|lane| held.contains(lane)) {
                self.calls.end(place, Err(behind()));
                continue;
            }
            let (topic, channel, exchange, properties) = match self.prepare(&outgoing) {
                Ok(prepared) => prepared,
                Err(fault) => {
                    held.extend(lane);
                    self.calls.end(place, Err(fault));
                    continue;
                }
            };
            let key: ShortString = self.slot(&outgoing).to_string().into();
            let options = BasicPublishOptions { mandatory: self.setup.mandatory, immediate: false };
            let mut sending: BoxFuture<'static, Sent> = Box::pin(async move {
                let (id, payload) = (outgoing.id.to_string(), outgoing.delivery.payload);
                let answer = tokio::time::timeout(CONFIRMING, async {
                    channel.basic_publish(exchange, key, options, &payload, properties).await?.await
                });
                Sent { place, topic, id, size: payload.len(), answer: answer.await.ok() }
            });
            // Its first poll hands it to the connection: in the batch's order, whatever the order of the others.
            match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(sent) => self.answered(sent),
                Poll::Pending => self.sending.push(sending),
            }
        }
    }

    fn prepare(&self, outgoing: &Outgoing) -> Result<(Arc<str>, Channel, ShortString, BasicProperties), Fault> {
        let delivery = &outgoing.delivery;
        if delivery.payload.len() > self.limits.message {
            return Err(too_large(delivery.payload.len(), self.limits.message));
        }
        let Some((topic, channel)) = self.channels.get_key_value(delivery.topic.as_str()) else {
            return Err(Fault::new(BrokerErrorKind::Unavailable, format!("no channel for `{}`", delivery.topic)));
        };
        let properties = message::properties(outgoing, self.limits.frame, SystemTime::now())?;
        Ok((Arc::clone(topic), channel.clone()?, short("exchange", topic)?, properties))
    }

    /// The slot of a message: its key's, or the next in turn.
    fn slot(&mut self, outgoing: &Outgoing) -> u16 {
        let slots = self.setup.topology.slots;
        if let Some(key) = &outgoing.delivery.key {
            return slot_of(key, slots);
        }
        self.turn = self.turn.wrapping_add(1) % slots;
        self.turn
    }

    /// Takes an answer, and every other that is there.
    fn answered(&mut self, first: Sent) {
        let mut batch = vec![first];
        batch.append(&mut self.ready());
        while !batch.is_empty() {
            let mut late = self.all_of_the_answer(&batch);
            for sent in batch.iter_mut().chain(&mut late) {
                self.note_return(sent);
            }
            for sent in batch {
                self.judge(sent);
            }
            batch = late;
        }
    }

    /// Waits for the rest of the answer that some messages were confirmed by, and gives it.
    ///
    /// The library hands a message that was given back to whichever confirmation it settles next, and settles those of
    /// one answer in any order. It holds a lock meanwhile: behind it, all of them are there.
    fn all_of_the_answer(&mut self, batch: &[Sent]) -> Vec<Sent> {
        if !self.setup.mandatory {
            return Vec::new();
        }
        let topics: HashSet<&str> = batch.iter().map(|sent| &*sent.topic).collect();
        for channel in topics.iter().filter_map(|topic| self.channels.get(*topic)?.as_ref().ok()) {
            let _ = channel.wait_for_confirms().now_or_never();
        }
        self.ready()
    }

    fn ready(&mut self) -> Vec<Sent> {
        let mut ready = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(sent)) = Pin::new(&mut self.sending).poll_next_unpin(&mut context) {
            ready.push(sent);
        }
        ready
    }

    fn note_return(&mut self, sent: &mut Sent) {
        let Some(Ok(Confirmation::Ack(message) | Confirmation::Nack(message))) = &mut sent.answer else { return };
        let Some(message) = message.take() else { return };
        if let Some(id) = message.properties.message_id() {
            self.returned.insert((message.exchange.to_string(), id.to_string()));
        }
    }

    fn judge(&mut self, sent: Sent) {
        let Sent { place, topic, id, size, answer } = sent;
        let unroutable = !self.returned.is_empty() && self.returned.remove(&(topic.to_string(), id));
        let result = match answer {
            Some(Ok(_)) if unroutable => Err(nobody(&topic)),
            Some(Ok(Confirmation::Ack(_))) => Ok(()),
            Some(Ok(_)) => {
                let what = format!("the AMQP broker did not take a message of `{topic}`: a queue is full or deleted");
                Err(Fault::new(BrokerErrorKind::Unavailable, what))
            }
            Some(Err(error)) => Err(self.failed(&topic, size, error)),
            None => {
                let what = format!("the AMQP broker has not confirmed a message of `{topic}` within {CONFIRMING:?}");
                Err(Fault::new(BrokerErrorKind::Unavailable, what))
            }
        };
        self.calls.end(place, result);
        if self.calls.is_empty() {
            self.returned.clear();
        }
    }

    /// What the end of a channel means for a message that was on it: it is at fault, or another one was.
    fn failed(&mut self, topic: &str, size: usize, error: lapin::Error) -> Fault {
        let mut fault = Fault::of(format!("a message of `{topic}` was not confirmed"), error);
        if fault.code() == Some(PRECONDITION_FAILED)
            && let Some(limit) = most_of(&fault.text())
        {
            self.limits.message = limit;
            if size > limit {
                return too_large(size, limit);
            }
            fault.kind = BrokerErrorKind::Unavailable;
        }
        fault
    }
}

async fn channel(topology: &Topology, connection: &Connection, topic: &str) -> Result<Channel, Fault> {
    topology.topic(connection, topic).await?;
    let opened = connection.create_channel().await;
    let channel = opened.map_err(|error| Fault::of("no channel can be opened", error))?;
    let confirm = channel.confirm_select(ConfirmSelectOptions::default()).await;
    confirm.map_err(|error| Fault::of("a channel cannot be made to confirm", error))?;
    Ok(channel)
}

fn silent(topic: &str) -> Fault {
    let what = format!("the AMQP broker has not opened a channel for `{topic}` within {OPENING:?}");
    Fault::new(BrokerErrorKind::Unavailable, what)
}

fn too_large(size: usize, limit: usize) -> Fault {
    let what = format!("the message has {size} bytes, and the AMQP broker takes {limit} (`max_message_size`)");
    Fault::new(BrokerErrorKind::Refused, what)
}

fn behind() -> Fault {
    Fault::new(BrokerErrorKind::Unavailable, "an earlier message of its key was not published")
}

fn nobody(topic: &str) -> Fault {
    let what = format!(
        "nobody takes messages of `{topic}` yet: no queue is bound to the exchange; the message waits until a group subscribes, unless the broker's property `mandatory` is `false`"
    );
    Fault::new(BrokerErrorKind::Unavailable, what)
}

/// The limit that the server names when a message is larger: `message size 200 is larger than configured max size 100`.
fn most_of(text: &str) -> Option<usize> {
    let (_, named) = text.split_once("message size")?;
    let mut numbers = named.split(|letter: char| !letter.is_ascii_digit()).filter(|number| !number.is_empty());
    numbers.next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::most_of;

    #[test]
    fn the_limit_of_a_message_is_read_from_what_the_server_says() {
        let text = "PRECONDITION_FAILED - message size 200 is larger than configured max size 100";
        assert_eq!(most_of(text), Some(100));
        assert_eq!(most_of("PRECONDITION_FAILED - unknown delivery tag 5"), None);
    }
}
