//! One consumer group: what waits, what is out with whom, and which message of each lane is next. Pure: no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::broker::driver::{Receipt, Settlement};
use crate::broker::lanes::KeptLane;

/// The number of a message, in the order of publishing.
pub(super) type Number = u64;

/// Names a member of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct MemberId(pub(super) u64);

/// A message of a group: its number, and its lane if it has a key.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) number: Number,
    pub(super) lane: Option<KeptLane>,
}

#[derive(Debug)]
struct Member {
    prefetch: usize,
    out: BTreeMap<u64, Entry>,
}

/// A consumer group. It stays when its members have left, and keeps what they have not settled.
#[derive(Debug, Default)]
pub(super) struct Group {
    topics: BTreeSet<String>,
    members: BTreeMap<MemberId, Member>,
    /// What can be handed out now, oldest first: messages without key, and of each lane only the first.
    ready: BTreeMap<Number, Entry>,
    /// What waits behind the first of its lane, since messages of a lane are handled in order, one at a time. A lane is listed
    /// while its first message is ready or out.
    behind: HashMap<KeptLane, VecDeque<Number>>,
}

impl Group {
    /// Lets a member in; the group takes its topics from now on.
    pub(super) fn join(&mut self, member: MemberId, topics: Vec<String>, prefetch: usize) {
        self.topics.extend(topics);
        self.members.insert(member, Member { prefetch: prefetch.max(1), out: BTreeMap::new() });
    }

    /// Whether messages of the topic are for this group.
    pub(super) fn takes(&self, topic: &str) -> bool {
        self.topics.contains(topic)
    }

    /// Accepts a message, the latest so far.
    pub(super) fn offer(&mut self, entry: Entry) {
        if let Some(lane) = &entry.lane {
            if let Some(behind) = self.behind.get_mut(lane) {
                behind.push_back(entry.number);
                return;
            }
            self.behind.insert(lane.clone(), VecDeque::new());
        }
        self.ready.insert(entry.number, entry);
    }

    /// Hands a member what is ready: at most `max`, and no more than its prefetch leaves room for.
    pub(super) fn take(&mut self, member: MemberId, max: usize, next_receipt: &mut u64) -> Vec<(Receipt, Number)> {
        let Some(member) = self.members.get_mut(&member) else { return Vec::new() };
        let room = member.prefetch.saturating_sub(member.out.len()).min(max);
        let mut taken = Vec::new();
        while taken.len() < room {
            let Some((number, entry)) = self.ready.pop_first() else { break };
            *next_receipt += 1;
            member.out.insert(*next_receipt, entry);
            taken.push((Receipt(*next_receipt), number));
        }
        taken
    }

    /// Settles what a member holds. Gives the number of a message that is done with; a receipt the member does not
    /// hold changes nothing.
    pub(super) fn settle(&mut self, member: MemberId, receipt: Receipt, settlement: Settlement) -> Option<Number> {
        let entry = self.members.get_mut(&member)?.out.remove(&receipt.0)?;
        let number = entry.number;
        match settlement {
            Settlement::Done => {
                self.follow(entry.lane);
                Some(number)
            }
            Settlement::Return => {
                self.ready.insert(number, entry);
                None
            }
        }
    }

    /// Lets a member go; what it holds is ready again, before the later messages of its lanes.
    pub(super) fn leave(&mut self, member: MemberId) {
        let Some(member) = self.members.remove(&member) else { return };
        self.ready.extend(member.out.into_values().map(|entry| (entry.number, entry)));
    }

    /// The first message of a lane is done with: the next one is the first.
    fn follow(&mut self, lane: Option<KeptLane>) {
        let Some(lane) = lane else { return };
        let next = self.behind.get_mut(&lane).and_then(VecDeque::pop_front);
        match next {
            Some(number) => drop(self.ready.insert(number, Entry { number, lane: Some(lane) })),
            None => drop(self.behind.remove(&lane)),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.behind.is_empty() && self.members.values().all(|member| member.out.is_empty())
    }
}
