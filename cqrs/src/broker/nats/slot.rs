//! What a member has of one slot: what waits, what is out, and how far it is done. Pure: no I/O, no tasks.
//!
//! The messages of a slot are read in the order of the stream. Those of a key are handed out one at a time, so what is
//! handed back comes again before the later ones of its key. The position is the last sequence number up to which
//! everything is done; what is done beyond it is kept beside it, and neither is read again by the next owner.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::broker::Delivery;
use crate::broker::driver::Settlement;

/// So many messages may be done beyond one that is not, before no more are read.
const MAX_BEYOND: usize = 2_000;
/// How many bytes of a slot may wait, about.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// How large a message is taken to be before any has come.
const UNKNOWN: usize = MOST_BYTES / 16;

/// How far a slot is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Everything up to this sequence number is done.
    pub(super) position: u64,
    /// What is done beyond it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) beyond: BTreeSet<u64>,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    delivery: Arc<Delivery>,
}

/// What a member has of one slot.
#[derive(Debug, Default)]
pub(super) struct Slot {
    progress: Progress,
    /// The last sequence number that was read.
    read: u64,
    /// What can be handed out now: messages without key, and of each key only the first.
    ready: BTreeMap<u64, Entry>,
    /// What waits behind the first of its key. A key is listed while its first message is ready or out.
    behind: HashMap<String, VecDeque<Entry>>,
    out: BTreeMap<u64, Entry>,
    /// Everything that was read and is not done.
    unfinished: BTreeSet<u64>,
    /// How large its messages are: the largest of late, which is forgotten slowly.
    size: Option<usize>,
}

impl Slot {
    pub(super) fn new(progress: Progress) -> Self {
        Self { read: progress.position, progress, ..Self::default() }
    }

    /// Takes the next message of the stream. What was done before is passed over, as is what was read before.
    pub(super) fn offer(&mut self, sequence: u64, delivery: Delivery) {
        if sequence <= self.read {
            return;
        }
        self.read = sequence;
        if self.progress.beyond.contains(&sequence) {
            self.advance();
            return;
        }
        self.unfinished.insert(sequence);
        let (size, last) = (delivery.payload.len(), self.size.unwrap_or(0));
        self.size = Some(size.max(last - last / 8));
        let entry = Entry { sequence, delivery: Arc::new(delivery) };
        if let Some(key) = entry.delivery.message_key() {
            if let Some(behind) = self.behind.get_mut(key) {
                behind.push_back(entry);
                return;
            }
            self.behind.insert(key.to_owned(), VecDeque::new());
        }
        self.ready.insert(sequence, entry);
    }

    /// Hands out the first message that can be.
    pub(super) fn take(&mut self) -> Option<(u64, Arc<Delivery>)> {
        let (sequence, entry) = self.ready.pop_first()?;
        let delivery = Arc::clone(&entry.delivery);
        self.out.insert(sequence, entry);
        Some((sequence, delivery))
    }

    /// Settles what is out; what is not changes nothing.
    pub(super) fn settle(&mut self, sequence: u64, settlement: Settlement) {
        let Some(entry) = self.out.remove(&sequence) else { return };
        match settlement {
            Settlement::Return => drop(self.ready.insert(sequence, entry)),
            Settlement::Done => {
                self.unfinished.remove(&sequence);
                self.progress.beyond.insert(sequence);
                self.follow(entry.delivery.message_key());
                self.advance();
            }
        }
    }

    /// The first message of a key is done: the next one is the first.
    fn follow(&mut self, key: Option<&str>) {
        let Some(key) = key else { return };
        match self.behind.get_mut(key).and_then(VecDeque::pop_front) {
            Some(next) => drop(self.ready.insert(next.sequence, next)),
            None => drop(self.behind.remove(key)),
        }
    }

    fn advance(&mut self) {
        let position = self.unfinished.first().map_or(self.read, |first| first - 1);
        if position > self.progress.position {
            self.progress.position = position;
            self.progress.beyond = self.progress.beyond.split_off(&(position + 1));
        }
    }

    /// How far the slot is done.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The last sequence number that was read.
    pub(super) fn last_read(&self) -> u64 {
        self.read
    }

    /// How many messages may wait, where it is so many of any size.
    pub(super) fn most(&self, most: usize) -> usize {
        most.min(MOST_BYTES / self.size.unwrap_or(UNKNOWN).max(1)).max(1)
    }

    /// How many more messages may be read, where so many may wait.
    pub(super) fn room(&self, most: usize) -> usize {
        let most = self.most(most);
        if self.progress.beyond.len() >= MAX_BEYOND {
            return 0;
        }
        most.saturating_sub(self.unfinished.len() - self.out.len())
    }

    /// Whether something can be handed out.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many messages are out.
    pub(super) fn out(&self) -> usize {
        self.out.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{MAX_BEYOND, Progress, Slot};
    use crate::broker::Delivery;
    use crate::broker::driver::Settlement::{Done, Return};

    fn offer(slot: &mut Slot, sequence: u64, key: &str) {
        let delivery = Delivery::new("t", Vec::new());
        slot.offer(sequence, if key.is_empty() { delivery } else { delivery.key(key) });
    }

    fn take_all(slot: &mut Slot) -> Vec<u64> {
        std::iter::from_fn(|| slot.take().map(|(sequence, _)| sequence)).collect()
    }

    #[test]
    fn a_key_waits_for_its_first_and_others_flow() {
        let mut slot = Slot::default();
        for (sequence, key) in [(3, "a"), (5, "a"), (8, "b"), (9, ""), (10, ""), (12, "a")] {
            offer(&mut slot, sequence, key);
        }
        assert_eq!(take_all(&mut slot), [3, 8, 9, 10]);
        slot.settle(3, Return);
        assert_eq!(take_all(&mut slot), [3], "what is handed back comes before the later ones of its key");
        slot.settle(3, Done);
        assert_eq!(take_all(&mut slot), [5]);
        slot.settle(5, Done);
        assert_eq!(take_all(&mut slot), [12]);
        assert_eq!(slot.out(), 4);
    }

    #[test]
    fn the_position_stands_before_the_first_that_is_not_done() {
        let mut slot = Slot::new(Progress { position: 2, beyond: BTreeSet::new() });
        for sequence in [3, 5, 8, 9] {
            offer(&mut slot, sequence, "");
        }
        take_all(&mut slot);
        slot.settle(8, Done);
        assert_eq!(*slot.progress(), Progress { position: 2, beyond: BTreeSet::from([8]) });
        slot.settle(3, Done);
        assert_eq!(*slot.progress(), Progress { position: 4, beyond: BTreeSet::from([8]) });
        slot.settle(5, Done);
        assert_eq!(*slot.progress(), Progress { position: 8, beyond: BTreeSet::new() });
        slot.settle(9, Done);
        slot.settle(9, Done);
        assert_eq!(*slot.progress(), Progress { position: 9, beyond: BTreeSet::new() });
    }

    #[test]
    fn what_was_done_beyond_the_position_does_not_come_again() {
        let mut slot = Slot::new(Progress { position: 4, beyond: BTreeSet::from([6, 7]) });
        for sequence in [4, 5, 6, 7, 8] {
            offer(&mut slot, sequence, "a");
        }
        assert_eq!(take_all(&mut slot), [5]);
        slot.settle(5, Done);
        assert_eq!(*slot.progress(), Progress { position: 7, beyond: BTreeSet::new() });
        assert_eq!(take_all(&mut slot), [8]);
    }

    #[test]
    fn reading_a_message_twice_changes_nothing() {
        let mut slot = Slot::default();
        offer(&mut slot, 1, "a");
        offer(&mut slot, 1, "a");
        assert_eq!(take_all(&mut slot), [1]);
        slot.settle(1, Done);
        assert!(!slot.is_ready());
        assert_eq!(slot.last_read(), 1);
    }

    #[test]
    fn of_large_messages_few_wait() {
        let mut slot = Slot::default();
        assert_eq!(slot.room(1_000), 16, "nobody knows how large they are");
        slot.offer(1, Delivery::new("t", vec![0; 1024]));
        assert_eq!(slot.room(1_000), 999);
        for sequence in 2..5 {
            slot.offer(sequence, Delivery::new("t", vec![0; 1024 * 1024]));
        }
        assert_eq!((slot.most(1_000), slot.room(1_000)), (4, 0));
        take_all(&mut slot);
        assert_eq!(slot.room(1_000), 4);
        for sequence in 5..100 {
            slot.offer(sequence, Delivery::new("t", vec![0; 1024]));
            take_all(&mut slot);
        }
        assert_eq!(slot.room(1_000), 1_000, "they are small again");
        slot.offer(100, Delivery::new("t", vec![0; 9 * 1024 * 1024]));
        take_all(&mut slot);
        assert_eq!(slot.room(1_000), 1, "one of any size is read");
    }

    #[test]
    fn what_waits_is_bounded_and_so_is_what_is_done_beyond_one_that_is_not() {
        let mut slot = Slot::default();
        assert_eq!(slot.room(4), 4);
        offer(&mut slot, 1, "a");
        offer(&mut slot, 2, "a");
        assert_eq!(slot.room(4), 2);
        assert_eq!(take_all(&mut slot), [1]);
        assert_eq!(slot.room(4), 3, "what is out does not wait");
        for sequence in 3..3 + MAX_BEYOND as u64 {
            assert_eq!(slot.room(4), 3);
            offer(&mut slot, sequence, "");
            take_all(&mut slot);
            slot.settle(sequence, Done);
        }
        assert_eq!(slot.room(4), 0);
        slot.settle(1, Done);
        assert_eq!(take_all(&mut slot), [2], "what is behind it is not done either");
        assert_eq!(slot.room(4), 0);
        slot.settle(2, Done);
        assert_eq!(slot.room(4), 4);
    }
}
