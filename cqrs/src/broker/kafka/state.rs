//! What a member of a group holds: messages that wait to be received, that are out with the app, and how far each
//! partition may be committed. Pure: no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::broker::Delivery;
use crate::broker::driver::{Incoming, Receipt, Settlement};

/// How many bytes of payload may wait, about.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A partition of a topic.
pub(super) type Partition = (Arc<str>, i32);

/// A message, with its place in its partition.
#[derive(Debug)]
struct Item {
    partition: Partition,
    offset: i64,
    delivery: Delivery,
}

impl Item {
    fn size(&self) -> usize {
        self.delivery.payload.len()
    }
}

/// A partition that is ours.
#[derive(Debug, Default)]
struct Progress {
    /// What was fetched and is not settled.
    outstanding: BTreeSet<i64>,
    /// One past the last that was fetched.
    next: Option<i64>,
    /// What the broker was told last.
    committed: Option<i64>,
}

impl Progress {
    /// Everything before it is settled.
    fn position(&self) -> Option<i64> {
        self.outstanding.first().copied().or(self.next)
    }
}

/// What a member holds.
#[derive(Debug)]
pub(super) struct State {
    prefetch: usize,
    partitions: HashMap<Partition, Progress>,
    /// Partitions that are about to go.
    going: BTreeSet<Partition>,
    /// What waits to be received, by when it came first. So what was handed back stands before what came after it.
    ready: BTreeMap<u64, Item>,
    /// How large that is.
    bytes: usize,
    /// What is out, by receipt: the number it came with is kept for when it is handed back.
    out: HashMap<Receipt, (u64, Item)>,
    last_number: u64,
    last_receipt: u64,
}

impl State {
    pub(super) fn new(prefetch: usize) -> Self {
        Self {
            prefetch: prefetch.max(1),
            partitions: HashMap::new(),
            going: BTreeSet::new(),
            ready: BTreeMap::new(),
            bytes: 0,
            out: HashMap::new(),
            last_number: 0,
            last_receipt: 0,
        }
    }

    /// How many more messages are worth fetching, as long as their bytes are: as many as may be out wait behind those that are.
    pub(super) fn room(&self) -> usize {
        if self.room_in_bytes() == 0 { 0 } else { self.prefetch.saturating_sub(self.ready.len()) }
    }

    /// How many bytes are worth fetching. The message that is one too many is fetched whole.
    pub(super) fn room_in_bytes(&self) -> usize {
        MOST_BYTES.saturating_sub(self.bytes)
    }

    /// A partition is ours from now on.
    pub(super) fn assign(&mut self, partition: Partition) {
        self.going.remove(&partition);
        self.partitions.insert(partition, Progress::default());
    }

    /// Accepts a message that was fetched. One of a partition that is not ours any more is dropped.
    pub(super) fn fetched(&mut self, partition: Partition, offset: i64, delivery: Delivery) {
        let Some(progress) = self.partitions.get_mut(&partition) else { return };
        progress.outstanding.insert(offset);
        progress.next = Some(offset + 1);
        self.last_number += 1;
        self.wait(self.last_number, Item { partition, offset, delivery });
    }

    fn wait(&mut self, number: u64, item: Item) {
        self.bytes += item.size();
        self.ready.insert(number, item);
    }

    /// Hands out what is ready: at most `max`, and no more than the prefetch leaves room for.
    pub(super) fn take(&mut self, max: usize) -> Vec<Incoming> {
        let room = self.prefetch.saturating_sub(self.out.len()).min(max.max(1));
        let mut taken = Vec::with_capacity(room.min(self.ready.len()));
        while taken.len() < room {
            let Some((number, item)) = self.ready.pop_first() else { break };
            self.bytes = self.bytes.saturating_sub(item.size());
            self.last_receipt += 1;
            let receipt = Receipt(self.last_receipt);
            taken.push(Incoming { receipt, delivery: item.delivery.clone() });
            self.out.insert(receipt, (number, item));
        }
        taken
    }

    /// Settles a message. A receipt of a partition that is not ours any more changes nothing.
    pub(super) fn settle(&mut self, receipt: Receipt, how: Settlement) {
        let Some((number, item)) = self.out.remove(&receipt) else { return };
        match how {
            Settlement::Done => {
                if let Some(progress) = self.partitions.get_mut(&item.partition) {
                    progress.outstanding.remove(&item.offset);
                }
            }
            // It is not settled, so whoever has the partition next is given it.
            Settlement::Return if self.going.contains(&item.partition) => {}
            Settlement::Return => self.wait(number, item),
        }
    }

    /// Hands out nothing more of partitions that are about to go, neither what is handed back meanwhile.
    pub(super) fn hold(&mut self, partitions: &BTreeSet<Partition>) {
        self.going.extend(partitions.iter().cloned());
        self.ready.retain(|_, item| !partitions.contains(&item.partition));
        self.bytes = self.ready.values().map(Item::size).sum();
    }

    /// Whether messages of partitions are out.
    pub(super) fn is_busy(&self, partitions: &BTreeSet<Partition>) -> bool {
        self.out.values().any(|(_, item)| partitions.contains(&item.partition))
    }

    /// Lets partitions go, with what is out of them.
    pub(super) fn revoke(&mut self, partitions: &BTreeSet<Partition>) {
        self.hold(partitions);
        self.going.retain(|partition| !partitions.contains(partition));
        self.out.retain(|_, (_, item)| !partitions.contains(&item.partition));
        self.partitions.retain(|partition, _| !partitions.contains(partition));
    }

    /// What the broker can be told: how far everything is settled, where it was not told yet.
    pub(super) fn take_commits(&mut self) -> Vec<(Partition, i64)> {
        let due = self.partitions.iter_mut().filter_map(|(partition, progress)| {
            let position = progress.position().filter(|position| progress.committed != Some(*position))?;
            progress.committed = Some(position);
            Some((partition.clone(), position))
        });
        due.collect()
    }

    /// The broker was not told after all.
    pub(super) fn not_committed(&mut self, partition: &Partition) {
        if let Some(progress) = self.partitions.get_mut(partition) {
            progress.committed = None;
        }
    }
}

#[cfg(test)]
#[path = "tests/state.rs"]
mod tests;
