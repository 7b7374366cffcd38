//! What a group has taken from its broker: what waits, and the batches that are being handled.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::batch::{Lane, Queue};
use super::keep::key_of;
use super::pace::{Pace, Took};
use super::{batch_of, job};
use crate::app::App;
use crate::broker::Delivery;
use crate::broker::driver::{Incoming, Receipt, Settlement};
use crate::retry::{RetryPolicy, random};
use crate::worker::Turns;

/// How many bytes of payload may wait before no more is taken in than there are turns for.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A batch that has ended.
struct Ended {
    messages: Vec<(Option<Lane>, Delivery)>,
    /// How each was settled: `None` where it was not begun.
    settled: Vec<Option<Settlement>>,
    took: Vec<Took>,
}

/// The messages a group is busy with, or that wait for their turn: stored ones take turns with them.
pub(super) struct Jobs {
    app: App,
    group: &'static str,
    turns: Turns,
    stop: CancellationToken,
    /// How many messages share a transaction, at most.
    batch: usize,
    pace: Pace,
    waiting: Queue<(Receipt, Delivery)>,
    /// How large they are, about: none are taken in while it is too much.
    bytes: usize,
    /// Held while messages wait: somebody is busy.
    busy: Option<TaskTrackerToken>,
    running: JoinSet<Option<Ended>>,
    /// Out of the tasks: whatever becomes of a task, its messages are settled, or their keys would be stuck for ever.
    receipts: HashMap<Id, Vec<(Receipt, Option<Lane>)>>,
    /// How many batches in a row ended with a message that could be neither handled nor stored.
    failures: Arc<AtomicU32>,
}

impl Jobs {
    pub(super) fn new(app: App, group: &'static str, turns: Turns, stop: CancellationToken) -> Self {
        let batch = batch_of(&app, group);
        Self {
            app,
            group,
            turns,
            stop,
            batch,
            pace: Pace::default(),
            waiting: Queue::new(),
            bytes: 0,
            busy: None,
            running: JoinSet::new(),
            receipts: HashMap::new(),
            failures: Arc::default(),
        }
    }

    /// How many more messages are taken from the broker at once. Where they are large, no more than there are turns for.
    pub(super) fn room(&self) -> usize {
        let held = self.waiting.len() + self.receipts.values().map(Vec::len).sum::<usize>();
        let most = if self.bytes < MOST_BYTES { self.turns.most.saturating_mul(self.batch) } else { self.turns.most };
        most.saturating_sub(held).min(self.batch.max(self.turns.most))
    }

    pub(super) fn push(&mut self, incoming: Vec<Incoming>) {
        for Incoming { receipt, delivery } in incoming {
            self.bytes += delivery.payload.len();
            self.waiting.push(lane_of(&delivery), (receipt, delivery));
        }
        self.note_busy();
    }

    fn note_busy(&mut self) {
        if self.waiting.is_empty() {
            (self.busy, self.bytes) = (None, 0);
        } else if self.busy.is_none() {
            self.busy = Some(self.app.tracker().token());
        }
    }

    /// When the next batch begins, given a turn; `None` where there is nothing to begin.
    pub(super) fn starts_at(&self) -> Option<Instant> {
        if !self.waiting.has_free() {
            return None;
        }
        let is_soon = self.batch == 1 || self.running.is_empty() || self.waiting.has_free_of(self.batch);
        self.pace.beside().filter(|_| !is_soon).or_else(|| Some(Instant::now()))
    }

    /// Begins a batch, of which the turn is.
    pub(super) fn start(&mut self, turn: Option<OwnedSemaphorePermit>) {
        let batch = self.waiting.cut(self.turns.free() + 1, self.pace.at_least(), self.batch);
        let bytes: usize = batch.iter().map(|(_, (_, delivery))| delivery.payload.len()).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        let busy = self.app.tracker().token();
        self.note_busy();
        if batch.is_empty() {
            return;
        }
        if !self.waiting.has_free() {
            self.pace.begin(Instant::now());
        }
        let (receipts, messages): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|(lane, (receipt, delivery))| ((receipt, lane.clone()), (lane, delivery))).unzip();
        let (app, group, stop) = (self.app.clone(), self.group, self.stop.clone());
        let failures = Arc::clone(&self.failures);
        let job = self.running.spawn(async move {
            let in_turn = async {
                let (settled, took) = job::handle(&app, group, &messages, &stop).await;
                // The pause takes nobody's turn.
                drop(turn);
                if settled.contains(&Some(Settlement::Return)) {
                    let failed = failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                    let pause = RetryPolicy::OUTAGE.pause(failed, random());
                    let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                } else {
                    failures.store(0, Ordering::Relaxed);
                }
                (settled, took)
            };
            let ended = app.give_up().run_until_cancelled(in_turn).await;
            drop(busy);
            ended.map(|(settled, took)| Ended { messages, settled, took })
        });
        self.receipts.insert(job.id(), receipts);
    }

    /// Waits for a batch to end. Cancel-safe; `None` where there is none.
    pub(super) async fn next(&mut self) -> Option<Vec<(Receipt, Settlement)>> {
        loop {
            match self.running.join_next_with_id().await? {
                Ok((id, ended)) => {
                    let receipts = self.receipts.remove(&id).unwrap_or_default();
                    return Some(self.end(receipts, ended));
                }
                Err(error) => self.pause(&error),
            }
        }
    }

    /// A task that broke has settled nothing: its messages are handed back after a pause, or they would come round at once.
    fn pause(&mut self, error: &JoinError) {
        let failed = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let pause = RetryPolicy::OUTAGE.pause(failed, random());
        tracing::error!(%error, group = self.group, ?pause, "a batch of messages broke off; they are handed back");
        let stop = self.stop.clone();
        let receipts = self.receipts.remove(&error.id()).unwrap_or_default();
        let waits = self.running.spawn(async move {
            let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            None
        });
        self.receipts.insert(waits.id(), receipts);
    }

    /// Settles what a batch has ended, and puts back what it has not begun. What goes back to the broker takes the later ones
    /// of its lane along, so that they do not come before it.
    fn end(&mut self, receipts: Vec<(Receipt, Option<Lane>)>, ended: Option<Ended>) -> Vec<(Receipt, Settlement)> {
        let all_returned = || Ended {
            messages: Vec::new(),
            settled: vec![Some(Settlement::Return); receipts.len()],
            took: Vec::new(),
        };
        let Ended { messages, settled, took } = ended.unwrap_or_else(all_returned);
        for took in took {
            self.pace.learn(took);
        }
        let mut deliveries = messages.into_iter();
        let (mut told, mut left, mut returned) = (Vec::new(), Vec::new(), HashSet::new());
        let lanes: Vec<Option<Lane>> = receipts.iter().map(|(_, lane)| lane.clone()).collect();
        for ((receipt, lane), settlement) in receipts.into_iter().zip(settled) {
            let delivery = deliveries.next().map(|(_, delivery)| delivery);
            match (settlement, delivery) {
                (None, Some(delivery)) if lane.as_ref().is_none_or(|lane| !returned.contains(lane)) => {
                    self.bytes += delivery.payload.len();
                    left.push((lane, (receipt, delivery)));
                }
                (settlement, _) => {
                    let settlement = settlement.unwrap_or(Settlement::Return);
                    if settlement == Settlement::Return {
                        returned.extend(lane);
                    }
                    told.push((receipt, settlement));
                }
            }
        }
        self.waiting.end(&lanes, left);
        for lane in &returned {
            told.extend(self.waiting.withdraw(lane).into_iter().map(|(receipt, _)| (receipt, Settlement::Return)));
        }
        self.note_busy();
        told
    }

    /// Takes out what waits for no batch, to be handed back.
    pub(super) fn hand_back(&mut self) -> Vec<(Receipt, Settlement)> {
        let waiting = self.waiting.take_free();
        self.note_busy();
        waiting.into_iter().map(|(receipt, _)| (receipt, Settlement::Return)).collect()
    }
}

fn lane_of(delivery: &Delivery) -> Option<Lane> {
    Some(Arc::new((delivery.topic.clone(), key_of(delivery)?.clone())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::{Jobs, Took};
    use crate::Builder;
    use crate::broker::Delivery;
    use crate::broker::driver::{Incoming, Receipt, Settlement};
    use crate::relay::tests::fake::FakeStore;
    use crate::store::Store;
    use crate::worker::Turns;

    /// Messages of one key that no handler takes: they are skipped.
    fn incoming(receipts: [u64; 2]) -> Vec<Incoming> {
        let body = r#"{"payload":{},"event_id":"018f0000-0000-7000-8000-000000000000","event_name":"e"}"#;
        receipts.map(|n| Incoming { receipt: Receipt(n), delivery: Delivery::new("t", body).key("k") }).into()
    }

    async fn jobs(stop: &CancellationToken) -> Jobs {
        let app = Builder::linked(&[]).store(Store::driver(FakeStore::default())).await.unwrap();
        Jobs::new(app, "group", Turns::new(1), stop.clone())
    }

    /// Ends the task of a batch that has two messages of a key, one of them behind. Gives how long they were kept.
    async fn break_off(jobs: &mut Jobs) -> Duration {
        jobs.push(incoming([1, 2]));
        jobs.start(None);
        let begun = Instant::now();
        jobs.running.abort_all();
        let returned = [1, 2].map(|n| (Receipt(n), Settlement::Return));
        assert_eq!(jobs.next().await.unwrap(), returned, "with what is behind it, or that would overtake it");
        assert_eq!((jobs.bytes, jobs.receipts.len(), jobs.waiting.len()), (0, 0, 0));
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn messages_of_a_task_that_broke_off_are_handed_back_after_ever_longer_pauses() {
        let mut jobs = jobs(&CancellationToken::new()).await;
        for whole in [100, 200, 400].map(Duration::from_millis) {
            let pause = break_off(&mut jobs).await;
            assert!(whole / 2 <= pause && pause <= whole + Duration::from_millis(2), "{pause:?} of {whole:?}");
        }
        jobs.push(incoming([3, 4]));
        for receipt in [3, 4] {
            jobs.start(None);
            assert_eq!(jobs.next().await.unwrap(), [(Receipt(receipt), Settlement::Done)]);
        }
        let pause = break_off(&mut jobs).await;
        assert!(pause <= Duration::from_millis(102), "a batch was handled in between: {pause:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_begins_at_once_alone_or_full_and_else_a_little_later() {
        let mut jobs = jobs(&CancellationToken::new()).await;
        jobs.batch = 2;
        assert_eq!(jobs.starts_at(), None);
        jobs.push(incoming([1, 2]).into_iter().take(1).collect());
        assert_eq!(jobs.starts_at(), Some(Instant::now()), "nothing is under way");
        jobs.start(None);
        let other = Delivery { key: Some("other".into()), ..incoming([3, 3]).remove(0).delivery };
        jobs.push(vec![Incoming { receipt: Receipt(3), delivery: other.clone() }]);
        assert!(jobs.starts_at().unwrap() > Instant::now(), "it may have company");
        jobs.push(vec![Incoming { receipt: Receipt(4), delivery: other.clone() }]);
        assert_eq!(jobs.starts_at(), Some(Instant::now()), "the batch is full");
        jobs.waiting.take_free();
        jobs.pace.learn(Took::Alone { messages: 1, whole: Duration::from_secs(1) });
        jobs.push(vec![Incoming { receipt: Receipt(5), delivery: other }]);
        assert_eq!(jobs.starts_at(), Some(Instant::now()), "slow ones do not wait");
        jobs.next().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_pause_of_a_task_that_broke_off() {
        let stop = CancellationToken::new();
        let mut jobs = jobs(&stop).await;
        stop.cancel();
        assert!(break_off(&mut jobs).await < Duration::from_millis(2));
    }
}
