//! What a member of a group has in hand: which messages the server gave it, which of them are out with the caller, and
//! which has to wait because an earlier one of its key is. Pure: no I/O, no tasks.
//!
//! A message that the caller hands back is given out again from here, before the later ones of its key: the server would
//! give it to this member again anyway, but perhaps after what it has already sent. Only what was never given out goes
//! back to the server, when the channel closes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::broker::driver::{Receipt, Settlement};

/// Messages of one lane (a topic and a key) are given out in order, one at a time.
pub(super) type Lane = Arc<(usize, String)>;

/// The number of a slot among all that the member consumes.
pub(super) type Slot = usize;

/// A message of the server's.
#[derive(Debug)]
pub(super) struct Held<M> {
    slot: Slot,
    /// Of which channel the tag is: the slot's channels are counted.
    epoch: u64,
    tag: u64,
    lane: Option<Lane>,
    pub(super) message: M,
}

/// What to acknowledge on the channel of a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) slot: Slot,
    pub(super) epoch: u64,
    pub(super) tag: u64,
    /// Whether all tags before are meant as well.
    pub(super) multiple: bool,
}

#[derive(Debug, Default)]
struct Channel {
    epoch: u64,
    /// Whether messages are taken on: not before it is open, and not while it is being given up.
    open: bool,
    /// Whether a message has come: then this member is the one that the queue's messages go to.
    active: bool,
    /// The tags that are not acknowledged.
    tags: BTreeSet<u64>,
    /// How many messages are out with the caller.
    out: usize,
}

#[derive(Debug)]
struct Line<M> {
    out: bool,
    waiting: VecDeque<Held<M>>,
}

#[derive(Debug)]
enum Next<M> {
    /// The first that waits in a lane. May be out of date.
    Lane(Lane),
    Free(Held<M>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hand<M> {
    most_out: usize,
    last_receipt: u64,
    channels: Vec<Channel>,
    lanes: HashMap<Lane, Line<M>>,
    next: VecDeque<Next<M>>,
    out: HashMap<Receipt, Held<M>>,
}

impl<M> Hand<M> {
    pub(super) fn new(slots: usize, most_out: usize) -> Self {
        Self {
            most_out: most_out.max(1),
            last_receipt: 0,
            channels: (0..slots).map(|_| Channel::default()).collect(),
            lanes: HashMap::new(),
            next: VecDeque::new(),
            out: HashMap::new(),
        }
    }

    /// A channel was opened for a slot. Gives its number.
    pub(super) fn open(&mut self, slot: Slot) -> u64 {
        self.lost(slot);
        let channel = &mut self.channels[slot];
        channel.open = true;
        channel.epoch
    }

    /// The channel of a slot is gone: the server gives what it had given to whoever is next. What is out stays out, and
    /// holds back its key until it is settled.
    pub(super) fn lost(&mut self, slot: Slot) {
        self.give_up(slot);
        let channel = &mut self.channels[slot];
        channel.epoch += 1;
        channel.active = false;
        channel.tags.clear();
    }

    /// Takes nothing more of a slot, and forgets what was not given out: it goes back with the channel.
    pub(super) fn give_up(&mut self, slot: Slot) {
        self.channels[slot].open = false;
        self.next.retain(|next| !matches!(next, Next::Free(held) if held.slot == slot));
        self.lanes.retain(|_, queue| {
            queue.waiting.retain(|held| held.slot != slot);
            queue.out || !queue.waiting.is_empty()
        });
    }

    /// Whether messages of a slot are taken on.
    pub(super) fn is_open(&self, slot: Slot) -> bool {
        self.channels[slot].open
    }

    /// Whether a slot that was given up waits for what is out.
    pub(super) fn is_leaving(&self) -> bool {
        self.channels.iter().any(|channel| !channel.open && channel.out > 0)
    }

    /// Whether messages of a slot are out with the caller.
    pub(super) fn is_out(&self, slot: Slot) -> bool {
        self.channels[slot].out > 0
    }

    /// Which of some slots' messages go to this member, as far as it knows.
    pub(super) fn active(&self, slots: Range<Slot>) -> Vec<Slot> {
        slots.filter(|slot| self.channels[*slot].open && self.channels[*slot].active).collect()
    }

    /// A message has come. What comes of a channel that is gone is forgotten.
    pub(super) fn arrive(&mut self, slot: Slot, epoch: u64, tag: u64, lane: Option<Lane>, message: M) {
        let channel = &mut self.channels[slot];
        if !channel.open || channel.epoch != epoch {
            return;
        }
        channel.active = true;
        channel.tags.insert(tag);
        let held = Held { slot, epoch, tag, lane, message };
        match held.lane.clone() {
            None => self.next.push_back(Next::Free(held)),
            Some(lane) => {
                let queue =
                    self.lanes.entry(lane.clone()).or_insert_with(|| Line { out: false, waiting: VecDeque::new() });
                queue.waiting.push_back(held);
                if !queue.out && queue.waiting.len() == 1 {
                    self.next.push_back(Next::Lane(lane));
                }
            }
        }
    }

    /// Gives out at most so many messages.
    pub(super) fn take<T>(&mut self, max: usize, mut give: impl FnMut(Receipt, &M) -> T) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < max && self.out.len() < self.most_out {
            let Some(next) = self.next.pop_front() else { break };
            let Some(held) = self.head(next) else { continue };
            self.last_receipt += 1;
            let receipt = Receipt(self.last_receipt);
            taken.push(give(receipt, &held.message));
            self.channels[held.slot].out += 1;
            self.out.insert(receipt, held);
        }
        taken
    }

    fn head(&mut self, next: Next<M>) -> Option<Held<M>> {
        match next {
            Next::Free(held) => Some(held),
            Next::Lane(lane) => {
                let queue = self.lanes.get_mut(&lane).filter(|queue| !queue.out)?;
                let held = queue.waiting.pop_front()?;
                queue.out = true;
                Some(held)
            }
        }
    }

    /// Settles what is out. Gives what to acknowledge.
    pub(super) fn settle(&mut self, settled: &[(Receipt, Settlement)]) -> Vec<Ack> {
        let mut done: HashMap<Slot, Vec<u64>> = HashMap::new();
        for (receipt, settlement) in settled {
            let Some(held) = self.out.remove(receipt) else { continue };
            let channel = &mut self.channels[held.slot];
            channel.out -= 1;
            let known = channel.open && channel.epoch == held.epoch;
            let again = *settlement != Settlement::Done;
            if channel.epoch == held.epoch && !again {
                channel.tags.remove(&held.tag);
                done.entry(held.slot).or_default().push(held.tag);
            }
            self.step(held, known && again);
        }
        done.into_iter().flat_map(|(slot, tags)| self.acks(slot, tags)).collect()
    }

    /// Frees the lane of a message that was out; the message itself goes first where it is given out again.
    fn step(&mut self, held: Held<M>, again: bool) {
        let Some(lane) = held.lane.clone() else {
            if again {
                self.next.push_back(Next::Free(held));
            }
            return;
        };
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        queue.out = false;
        if again {
            queue.waiting.push_front(held);
        }
        if queue.waiting.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.next.push_back(Next::Lane(lane));
        }
    }

    /// One acknowledgement for all tags before the first that is still held, and one for each behind it.
    fn acks(&self, slot: Slot, mut tags: Vec<u64>) -> Vec<Ack> {
        let channel = &self.channels[slot];
        let ack = |tag, multiple| Ack { slot, epoch: channel.epoch, tag, multiple };
        tags.sort_unstable();
        let first_held = channel.tags.first().copied().unwrap_or(u64::MAX);
        let before = tags.partition_point(|tag| *tag < first_held);
        let mut acks = Vec::new();
        acks.extend(tags[..before].last().map(|tag| ack(*tag, before > 1)));
        acks.extend(tags[before..].iter().map(|tag| ack(*tag, false)));
        acks
    }
}

#[cfg(test)]
mod tests;
