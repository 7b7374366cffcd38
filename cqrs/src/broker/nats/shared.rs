//! What a member's tasks and its consumer share: the slots it owns, and what of them is out.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::link::{closed, unavailable};
use super::slot::{Progress, Slot};
use super::table::SlotId;
use crate::broker::driver::{Incoming, Receipt, Settlement};
use crate::broker::{BrokerError, Delivery};

pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Something may be deliverable, or there is an error to give.
    deliverable: Notify,
    /// Something was settled.
    pub(super) settled: Notify,
    prefetch: usize,
}

#[derive(Default)]
struct Inner {
    slots: BTreeMap<SlotId, Held>,
    receipts: HashMap<Receipt, (SlotId, u64)>,
    last_receipt: u64,
    /// The slot that was handed out from last: the next one's turn is first.
    last: Option<SlotId>,
    /// Until then what the member owns is surely its own.
    sure_until: Option<Instant>,
    closed: bool,
    failure: Option<BrokerError>,
}

struct Held {
    slot: Slot,
    /// It belongs to somebody else as soon as nothing of it is out.
    shed: bool,
    /// Rung when there is room for more.
    room: Arc<Notify>,
}

impl Shared {
    pub(super) fn new(prefetch: usize) -> Self {
        let (deliverable, settled) = (Notify::new(), Notify::new());
        Self { inner: Mutex::default(), deliverable, settled, prefetch: prefetch.max(1) }
    }

    /// No code that can panic runs under the lock, so a poisoned one would still hold a sound state.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages of one slot may wait.
    fn waiting_most(&self) -> usize {
        self.prefetch.clamp(16, 1_000)
    }

    /// The member owns a slot from now on.
    pub(super) fn own(&self, id: SlotId, progress: Progress) {
        let held = Held { slot: Slot::new(progress), shed: false, room: Arc::new(Notify::new()) };
        self.lock().slots.insert(id, held);
    }

    /// The member owns a slot no more. What was out of it is somebody else's.
    pub(super) fn lose(&self, id: &SlotId) {
        let mut inner = self.lock();
        if let Some(held) = inner.slots.remove(id) {
            held.room.notify_waiters();
        }
        inner.receipts.retain(|_, (slot, _)| slot != id);
    }

    /// Says which slots are handed out from no more.
    pub(super) fn shed(&self, shed: impl Fn(&SlotId) -> bool) {
        for (id, held) in &mut self.lock().slots {
            held.shed = shed(id);
        }
    }

    /// The slots to be given up of which nothing is out.
    pub(super) fn idle(&self) -> Vec<SlotId> {
        let inner = self.lock();
        inner.slots.iter().filter(|(_, held)| held.shed && held.slot.out() == 0).map(|(id, _)| id.clone()).collect()
    }

    /// How far a slot is done.
    pub(super) fn progress(&self, id: &SlotId) -> Option<Progress> {
        self.lock().slots.get(id).map(|held| held.slot.progress().clone())
    }

    /// What the member owns is its own until then.
    pub(super) fn sure(&self, until: Instant) {
        self.lock().sure_until = Some(until);
        self.deliverable.notify_waiters();
    }

    /// Gives an error to whoever receives next.
    pub(super) fn fail(&self, error: BrokerError) {
        self.lock().failure = Some(error);
        self.deliverable.notify_waiters();
    }

    /// Hands out nothing more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.deliverable.notify_waiters();
    }

    /// Takes a message that was read; whether the slot is still the member's.
    pub(super) fn offer(&self, id: &SlotId, sequence: u64, delivery: Delivery) -> bool {
        let mut inner = self.lock();
        let Some(held) = inner.slots.get_mut(id) else { return false };
        held.slot.offer(sequence, delivery);
        let is_ready = held.slot.is_ready();
        drop(inner);
        if is_ready {
            self.deliverable.notify_waiters();
        }
        true
    }

    /// Where the next message of a slot is read from.
    pub(super) fn last_read(&self, id: &SlotId) -> Option<u64> {
        self.lock().slots.get(id).map(|held| held.slot.last_read())
    }

    /// Waits until a good part of what may wait is missing; gives how many. `None` where the slot is lost.
    pub(super) async fn room(&self, id: &SlotId) -> Option<usize> {
        let most = self.waiting_most();
        loop {
            let bell = Arc::clone(&self.lock().slots.get(id)?.room);
            let rung = bell.notified();
            let (room, most) = {
                let inner = self.lock();
                let slot = &inner.slots.get(id)?.slot;
                (slot.room(most), slot.most(most))
            };
            if room > 0 && room >= most / 2 {
                return Some(room);
            }
            rung.await;
        }
    }

    pub(super) async fn receive(&self, max: usize) -> Result<Vec<Incoming>, BrokerError> {
        loop {
            let deliverable = self.deliverable.notified();
            {
                let mut inner = self.lock();
                if inner.closed {
                    return Err(closed());
                }
                if let Some(error) = inner.failure.take() {
                    return Err(error);
                }
                let incoming = inner.take(self.prefetch, max.max(1), Instant::now());
                if !incoming.is_empty() {
                    return Ok(incoming);
                }
            }
            deliverable.await;
        }
    }

    pub(super) fn settle(&self, settled: Vec<(Receipt, Settlement)>) -> Result<(), BrokerError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(closed());
        }
        let count = settled.len();
        let found = settled.into_iter().filter(|(receipt, how)| inner.settle(*receipt, *how)).count();
        drop(inner);
        self.settled.notify_one();
        self.deliverable.notify_waiters();
        if found < count {
            return Err(unavailable("other members of the group have taken over what was to be settled"));
        }
        Ok(())
    }
}

impl Inner {
    /// Hands out what is ready, one message of each slot in turn.
    fn take(&mut self, prefetch: usize, max: usize, now: Instant) -> Vec<Incoming> {
        if self.sure_until.is_none_or(|until| now >= until) {
            return Vec::new();
        }
        let room = prefetch.saturating_sub(self.receipts.len()).min(max);
        let mut incoming = Vec::new();
        while incoming.len() < room {
            let Some((id, sequence, delivery)) = self.take_next() else { break };
            self.last_receipt += 1;
            let receipt = Receipt(self.last_receipt);
            incoming.push(Incoming { receipt, delivery: Delivery::clone(&delivery) });
            self.receipts.insert(receipt, (id, sequence));
        }
        incoming
    }

    fn take_next(&mut self) -> Option<(SlotId, u64, Arc<Delivery>)> {
        let from = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let is_ready = |(_, held): &(&SlotId, &Held)| !held.shed && held.slot.is_ready();
        let after = self.slots.range((from, Bound::Unbounded)).find(is_ready);
        let (id, _) = after.or_else(|| self.slots.iter().find(is_ready))?;
        let id = id.clone();
        let held = self.slots.get_mut(&id)?;
        let (sequence, delivery) = held.slot.take()?;
        held.room.notify_waiters();
        self.last = Some(id.clone());
        Some((id, sequence, delivery))
    }

    fn settle(&mut self, receipt: Receipt, how: Settlement) -> bool {
        let Some((id, sequence)) = self.receipts.remove(&receipt) else { return false };
        let Some(held) = self.slots.get_mut(&id) else { return false };
        held.slot.settle(sequence, how);
        held.room.notify_waiters();
        true
    }
}
