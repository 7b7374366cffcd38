//! What becomes of many sagas is stored together, where more is to be stored at once than the store is asked by itself.
//!
//! A few changes are under way, each by itself, as long as there are no more. Those that come meanwhile wait for one of them to be over,
//! and then go together in its place: what the store takes for a call, a statement and a commit it takes once for all of them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::chain;
use crate::store::driver::{BoxFuture, Driver};
use crate::store::{SagaChange, SagaSaved, Sagas, StoreError, StoreErrorKind};

/// How many turns are under way before the next change waits. Fewer would wait longer for the disk than they save.
const TURNS: usize = 8;

/// How many changes go together at most. Their sagas are locked meanwhile.
const MOST: usize = 64;

/// How many bytes go together, where they are more than one change: what is large gains nothing.
const MOST_BYTES: usize = 256 * 1024;

/// How long a turn counts. One that waits for a saga which somebody has locked is not to keep all others waiting.
const PATIENCE: Duration = Duration::from_millis(100);

type Answer = Result<SagaSaved, StoreError>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Together(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    /// When those began that are under way, by their numbers.
    turns: BTreeMap<u64, Instant>,
    next_turn: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    change: SagaChange,
    answer: oneshot::Sender<Answer>,
}

impl Queue {
    /// Another turn. Of those that are overdue, whoever has them may have no time to give them up.
    fn turn(&mut self, now: Instant) -> Option<u64> {
        let counts = |began: &&Instant| now.saturating_duration_since(**began) < PATIENCE;
        (self.turns.values().filter(counts).count() < TURNS).then(|| self.begin(now))
    }

    fn begin(&mut self, now: Instant) -> u64 {
        self.next_turn += 1;
        self.turns.insert(self.next_turn, now);
        self.next_turn
    }

    /// Those that have waited longest, of a saga one. Nobody waits any more for what is not asked for.
    fn next(&mut self) -> Vec<Waiting> {
        let (mut next, mut ids, mut bytes, mut later) = (Vec::new(), HashSet::new(), 0, VecDeque::new());
        while let Some(waiting) = self.waiting.pop_front() {
            if waiting.answer.is_closed() {
                continue;
            }
            let size = size_of_change(&waiting.change);
            if !next.is_empty() && (next.len() == MOST || bytes + size > MOST_BYTES) {
                self.waiting.push_front(waiting);
                break;
            }
            if ids.insert(waiting.change.claim.id.clone()) {
                bytes += size;
                next.push(waiting);
            } else {
                later.push_back(waiting);
            }
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        next
    }
}

/// What of a change may be large, in bytes.
fn size_of_change(change: &SagaChange) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let of_steps = change.steps.iter().map(|step| text(&step.error) + step.returned.as_ref().map_or(0, Vec::len));
    let of_log = change.log.iter().map(|entry| text(&entry.error));
    change.context.as_ref().map_or(0, Vec::len) + text(&change.error) + of_steps.chain(of_log).sum::<usize>()
}

impl Together {
    /// Stores a change, and commits it by itself or with others.
    pub(crate) fn save<'a>(&'a self, store: &'a Arc<dyn Driver>, change: SagaChange) -> BoxFuture<'a, Answer> {
        match store.sagas() {
            Some(sagas) if sagas.saves_many().is_some() => Box::pin(async move {
                match self.enter(store, change) {
                    Ok((turn, change)) => turn.during(sagas.save(change)).await,
                    Err(answer) => answer.await.unwrap_or_else(|_| Err(not_stored())),
                }
            }),
            Some(sagas) => sagas.save(change),
            None => Box::pin(std::future::ready(Err(StoreError::new(
                StoreErrorKind::Configuration,
                "this store has no sagas",
            )))),
        }
    }

    /// Gives a change back that may be stored now, or what tells what became of it.
    fn enter(
        &self,
        store: &Arc<dyn Driver>,
        change: SagaChange,
    ) -> Result<(Turn, SagaChange), oneshot::Receiver<Answer>> {
        let mut queue = lock(&self.0);
        if let Some(number) = queue.turn(Instant::now()) {
            let (store, queue) = (Arc::clone(store), Arc::clone(&self.0));
            return Ok((Turn { number, store, queue, runtime: Handle::current() }, change));
        }
        let (answer, answered) = oneshot::channel();
        queue.waiting.push_back(Waiting { change, answer });
        Err(answered)
    }
}

/// One that is under way. Over, those that wait have another in its place: also where whoever had it was dropped.
struct Turn {
    number: u64,
    store: Arc<dyn Driver>,
    queue: Arc<Mutex<Queue>>,
    runtime: Handle,
}

impl Turn {
    async fn during<T>(self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        if let Ok(done) = tokio::time::timeout(PATIENCE, &mut call).await {
            return done;
        }
        drop(self);
        call.await
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue);
        queue.turns.remove(&self.number);
        let next = queue.next();
        if next.is_empty() {
            return;
        }
        let number = queue.begin(Instant::now());
        drop(queue);
        let (store, queue, runtime) = (Arc::clone(&self.store), Arc::clone(&self.queue), self.runtime.clone());
        let turn = Self { number, store: Arc::clone(&store), queue, runtime };
        self.runtime.spawn(async move {
            if let Some(sagas) = store.sagas() {
                turn.during(save_all(sagas, next)).await;
            }
        });
    }
}

/// Stores changes together; by themselves those that are few, or came to nothing.
async fn save_all(sagas: &dyn Sagas, waiting: Vec<Waiting>) {
    let is_many = sagas.saves_many().is_some_and(|many| waiting.len() >= many);
    let left = if is_many { save_many(sagas, waiting).await } else { waiting };
    let by_themselves = left.into_iter().map(|Waiting { change, answer }| async move {
        // Whoever has stopped waiting is not told.
        let _ = answer.send(sagas.save(change).await);
    });
    join_all(by_themselves).await;
}

/// Gives those that are to be stored by themselves.
async fn save_many(sagas: &dyn Sagas, waiting: Vec<Waiting>) -> Vec<Waiting> {
    let changes = waiting.iter().map(|waiting| waiting.change.clone()).collect();
    let saved = match sagas.save_many(changes).await {
        Ok(saved) => saved,
        Err(error) => return unsaved(&error, waiting),
    };
    let mut saved = saved.into_iter();
    let left = waiting.into_iter().filter_map(|waiting| match saved.next().flatten() {
        Some(saved) => {
            let _ = waiting.answer.send(Ok(saved));
            None
        }
        None => Some(waiting),
    });
    left.collect()
}

/// Each hears what the store said where it may have stored all of them, or is not there, or busy: by themselves they would find out, too, one
/// after the other. What one of them is refused for, the others are not.
fn unsaved(error: &StoreError, waiting: Vec<Waiting>) -> Vec<Waiting> {
    let kind = error.kind();
    if error.is_retryable() || kind == StoreErrorKind::CommitUnknown {
        for waiting in waiting {
            let _ = waiting.answer.send(Err(StoreError::new(kind, chain(error))));
        }
        return Vec::new();
    }
    tracing::warn!(
        error = chain(error),
        "what became of several sagas could not be stored together; each is stored by itself"
    );
    waiting
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_stored() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "what became of a saga was not stored")
}
