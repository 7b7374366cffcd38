//! What the memory broker knows, and how it changes: published messages, the groups that owe a confirmation, the bounds.
//! Pure: every function goes from (state, input) to (state, what to tell whom); the tasks that wait are next door.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::group::{Entry, Group, MemberId, Number};
use crate::broker::Delivery;
use crate::broker::driver::{Incoming, Outgoing, Receipt, Settlement, Subscription};
use crate::broker::lanes::kept_lane_of;

#[cfg(test)]
mod tests;

/// How much of one topic may be in flight, published and not confirmed. Per topic, so that a topic whose group has no
/// consumer does not hold up the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// What became of a published message.
#[derive(Debug)]
pub(super) enum Published {
    /// No group takes it: it is confirmed.
    Confirmed,
    /// It is confirmed when [`State::settle`] gives its number.
    Waiting(Number),
    /// Too much of its topic is in flight: try again after something was confirmed.
    Full(Outgoing),
    /// The broker is closed.
    Closed,
}

#[derive(Debug)]
struct Message {
    id: Uuid,
    delivery: Arc<Delivery>,
    /// How many groups have not settled it.
    owing: usize,
}

#[derive(Debug, Default)]
struct Load {
    messages: usize,
    bytes: usize,
}

/// The whole broker.
#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    closed: bool,
    last_number: Number,
    last_member: u64,
    last_receipt: u64,
    groups: BTreeMap<String, Group>,
    member_groups: HashMap<MemberId, String>,
    messages: HashMap<Number, Message>,
    /// The messages in flight by id and topic: what is published again meanwhile is not delivered again.
    by_id: HashMap<(Uuid, String), Number>,
    loads: HashMap<String, Load>,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            closed: false,
            last_number: 0,
            last_member: 0,
            last_receipt: 0,
            groups: BTreeMap::new(),
            member_groups: HashMap::new(),
            messages: HashMap::new(),
            by_id: HashMap::new(),
            loads: HashMap::new(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Accepts nothing from now on, and forgets everything.
    pub(super) fn close(&mut self) {
        *self = Self { closed: true, ..Self::new(self.limits) };
    }

    /// Lets a member into a group, which exists from then on. `None` where the broker is closed.
    pub(super) fn subscribe(&mut self, subscription: Subscription) -> Option<MemberId> {
        if self.closed {
            return None;
        }
        self.last_member += 1;
        let member = MemberId(self.last_member);
        let Subscription { group, topics, prefetch } = subscription;
        self.groups.entry(group.clone()).or_default().join(member, topics, prefetch);
        self.member_groups.insert(member, group);
        Some(member)
    }

    /// Publishes a message to every group that takes its topic.
    pub(super) fn publish(&mut self, outgoing: Outgoing) -> Published {
        if self.closed {
            return Published::Closed;
        }
        let topic = outgoing.delivery.topic();
        let owing = self.groups.values().filter(|group| group.takes(topic)).count();
        if owing == 0 {
            return Published::Confirmed;
        }
        if let Some(number) = self.by_id.get(&(outgoing.id, topic.to_owned())) {
            return Published::Waiting(*number);
        }
        if self.is_full(&outgoing.delivery) {
            return Published::Full(outgoing);
        }
        Published::Waiting(self.admit(outgoing, owing))
    }

    fn is_full(&self, delivery: &Delivery) -> bool {
        // Where nothing is in flight, a message is admitted however large it is: it would wait for ever otherwise.
        self.loads.get(delivery.topic()).is_some_and(|load| {
            load.messages >= self.limits.messages || load.bytes + delivery.payload().len() > self.limits.bytes
        })
    }

    fn admit(&mut self, outgoing: Outgoing, owing: usize) -> Number {
        self.last_number += 1;
        let number = self.last_number;
        let Outgoing { id, delivery } = outgoing;
        let lane = kept_lane_of(&delivery);
        for group in self.groups.values_mut().filter(|group| group.takes(delivery.topic())) {
            group.offer(Entry { number, lane: lane.clone() });
        }
        let load = self.loads.entry(delivery.topic().to_owned()).or_default();
        load.messages += 1;
        load.bytes += delivery.payload().len();
        self.by_id.insert((id, delivery.topic().to_owned()), number);
        self.messages.insert(number, Message { id, delivery: Arc::new(delivery), owing });
        number
    }

    /// Hands a member at most `max` messages.
    pub(super) fn take(&mut self, member: MemberId, max: usize) -> Vec<Incoming> {
        let group = self.member_groups.get(&member).and_then(|name| self.groups.get_mut(name));
        let taken = group.map(|group| group.take(member, max, &mut self.last_receipt)).unwrap_or_default();
        let incoming = taken.into_iter().filter_map(|(receipt, number)| {
            let message = self.messages.get(&number)?;
            Some(Incoming { receipt, delivery: Delivery::clone(&message.delivery) })
        });
        incoming.collect()
    }

    /// Settles what a member holds. Gives the messages that are confirmed by it.
    pub(super) fn settle(&mut self, member: MemberId, settled: &[(Receipt, Settlement)]) -> Vec<Number> {
        let Some(group) = self.member_groups.get(&member).and_then(|name| self.groups.get_mut(name)) else {
            return Vec::new();
        };
        let done: Vec<_> = settled.iter().filter_map(|(receipt, how)| group.settle(member, *receipt, *how)).collect();
        done.into_iter().filter(|number| self.confirm(*number)).collect()
    }

    /// Lets a member go; the others of its group get what it held.
    pub(super) fn leave(&mut self, member: MemberId) {
        if let Some(group) = self.member_groups.remove(&member).and_then(|name| self.groups.get_mut(&name)) {
            group.leave(member);
        }
    }

    /// Notes that one more group is done with a message. Whether it was the last.
    fn confirm(&mut self, number: Number) -> bool {
        let Some(message) = self.messages.get_mut(&number) else { return false };
        message.owing -= 1;
        if message.owing > 0 {
            return false;
        }
        let Some(Message { id, delivery, .. }) = self.messages.remove(&number) else { return false };
        self.by_id.remove(&(id, delivery.topic().to_owned()));
        if let Some(load) = self.loads.get_mut(delivery.topic()) {
            load.messages -= 1;
            load.bytes -= delivery.payload().len();
            if load.messages == 0 {
                self.loads.remove(delivery.topic());
            }
        }
        true
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.by_id.is_empty()
            && self.loads.is_empty()
            && self.groups.values().all(Group::is_empty)
    }
}
