//! Who holds which message, over all members of a group: what shows that order was kept and nothing lost. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::fail;
use crate::broker::Delivery;
use crate::broker::driver::Outgoing;

/// A message of a case: the so-manieth of its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Numbered {
    pub(super) key: String,
    pub(super) number: u32,
}

impl Numbered {
    pub(super) fn new(key: impl Into<String>, number: u32) -> Self {
        Self { key: key.into(), number }
    }

    pub(super) fn outgoing(&self, topic: &str) -> Outgoing {
        let payload = format!("{}/{}", self.key, self.number);
        Outgoing { id: Uuid::now_v7(), delivery: Delivery::new(topic, payload).key(self.key.clone()) }
    }

    pub(super) fn read(delivery: &Delivery) -> Self {
        let text = String::from_utf8_lossy(delivery.payload());
        let read = text.rsplit_once('/').and_then(|(key, number)| Some(Self::new(key, number.parse().ok()?)));
        match read {
            Some(read) if delivery.message_key() == Some(&*read.key) => read,
            _ => fail(format_args!("a message that nobody published: {delivery:?}")),
        }
    }
}

#[derive(Debug, Default)]
struct Lane {
    /// How many messages of the key were handed out at least once: always the first ones.
    seen: u32,
    done: BTreeSet<u32>,
    held: BTreeSet<(u32, usize)>,
}

#[derive(Debug, Default)]
struct Book {
    lanes: BTreeMap<String, Lane>,
    by_member: BTreeMap<usize, usize>,
    wrong: Vec<String>,
}

/// Who holds what. Clones share everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member was handed a message.
    pub(super) fn handed(&self, member: usize, message: &Numbered) {
        let mut book = self.lock();
        *book.by_member.entry(member).or_default() += 1;
        let lane = book.lanes.entry(message.key.clone()).or_default();
        let elsewhere = lane.held.iter().find(|(number, holder)| *holder != member && *number <= message.number);
        let overtaken = elsewhere.map(|held| format!("member {member} was handed {message:?} while {held:?} was held"));
        // Handed out once, and nobody's now: it is to come again before this one does.
        let is_open = |number: &u32| !lane.done.contains(number) && !lane.held.contains(&(*number, member));
        let open = (0..message.number.min(lane.seen)).find(is_open).filter(|_| overtaken.is_none());
        let overtaken =
            overtaken.or_else(|| open.map(|open| format!("{message:?} came while number {open} was not done")));
        let skipped = (message.number > lane.seen).then(|| format!("{message:?} came when {} was due", lane.seen));
        lane.seen = lane.seen.max(message.number + 1);
        lane.held.insert((message.number, member));
        book.wrong.extend(overtaken.into_iter().chain(skipped));
    }

    /// A member is about to settle a message as done.
    pub(super) fn done(&self, member: usize, message: &Numbered) {
        let mut book = self.lock();
        let lane = book.lanes.entry(message.key.clone()).or_default();
        lane.held.remove(&(message.number, member));
        lane.done.insert(message.number);
    }

    /// A member is about to leave.
    pub(super) fn leaves(&self, member: usize) {
        self.lock().lanes.values_mut().for_each(|lane| lane.held.retain(|(_, holder)| *holder != member));
    }

    /// How many different messages are done.
    pub(super) fn count(&self) -> usize {
        self.lock().lanes.values().map(|lane| lane.done.len()).sum()
    }

    /// How many messages a member was handed.
    pub(super) fn of_member(&self, member: usize) -> usize {
        self.lock().by_member.get(&member).copied().unwrap_or(0)
    }

    /// Fails the case where something came out of order.
    #[track_caller]
    pub(super) fn judge(&self) {
        let book = self.lock();
        assert!(book.wrong.is_empty(), "out of order: {:#?}", book.wrong);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(ledger: &Ledger) -> usize {
        ledger.lock().wrong.len()
    }

    #[test]
    fn a_message_that_comes_again_after_a_later_one_of_its_key_is_seen() {
        let (ledger, message) = (Ledger::default(), |number| Numbered::new("k", number));
        ledger.handed(1, &message(0));
        ledger.handed(1, &message(1));
        assert_eq!(wrong(&ledger), 0, "one member may hold several of a key");
        ledger.done(1, &message(0));
        ledger.leaves(1);
        ledger.handed(2, &message(1));
        ledger.handed(2, &message(2));
        ledger.leaves(2);
        ledger.handed(3, &Numbered::new("other", 0));
        assert_eq!(wrong(&ledger), 0);
        ledger.handed(3, &message(2));
        assert_eq!(wrong(&ledger), 1, "1 was to come before");
        ledger.handed(3, &message(1));
        assert_eq!(wrong(&ledger), 1);
    }
}
