//! What becomes of many sagas is stored together, where more is to be stored at once than the store is asked by itself.
//!
//! A few changes are under way, each by itself, as long as there are no more. Those that come meanwhile wait for one of them to be over,
//! and then go together in its place: what the store takes for a call, a statement and a commit it takes once for all of them.

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::chain;
use crate::store::driver::{BoxFuture, Driver};
use crate::store::{SagaChange, SagaSaved, Sagas, StoreError, StoreErrorKind};

/// How many calls are under way before the next change waits.
const UNDER_WAY: usize = 4;

/// So few changes are stored each by itself: what is saved is less than what a statement for any number of them takes.
const FEW: usize = 4;

/// How many changes go together at most. Their sagas are locked meanwhile.
const MOST: usize = 64;

/// How many bytes go together, where they are more than one: what is large gains nothing.
const MOST_BYTES: usize = 256 * 1024;

/// How long a call counts as under way. One that waits for a saga which somebody has locked is not to keep all others waiting.
const PATIENCE: Duration = Duration::from_millis(100);

type Answer = Result<SagaSaved, StoreError>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Together(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    under_way: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    change: SagaChange,
    answer: oneshot::Sender<Answer>,
}

impl Queue {
    /// Those that have waited longest, of a saga one. Nobody waits any more for what is not asked for.
    fn next(&mut self) -> Vec<Waiting> {
        let (mut next, mut ids, mut bytes, mut later) = (Vec::new(), HashSet::new(), 0, VecDeque::new());
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| {
            bytes += size_of_change(&waiting.change);
            bytes <= MOST_BYTES || next.is_empty()
        }) {
            if waiting.answer.is_closed() {
                continue;
            }
            if ids.insert(waiting.change.claim.id.clone()) {
                next.push(waiting);
            } else {
                later.push_back(waiting);
            }
            if next.len() == MOST {
                break;
            }
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        next
    }
}

/// What of a change may be large, in bytes.
fn size_of_change(change: &SagaChange) -> usize {
    let of_steps = change.steps.iter().map(|step| step.returned.as_ref().map_or(0, Vec::len));
    change.context.as_ref().map_or(0, Vec::len) + of_steps.sum::<usize>()
}

impl Together {
    /// Stores a change, and commits it by itself or with others.
    pub(crate) fn save<'a>(&'a self, store: &'a Arc<dyn Driver>, change: SagaChange) -> BoxFuture<'a, Answer> {
        match store.sagas() {
            Some(sagas) if sagas.saves_many() => Box::pin(async move {
                match self.enter(store, change) {
                    Entered::Now(change, turn) => turn.during(sagas.save(change)).await,
                    Entered::Later(answer) => answer.await.unwrap_or_else(|_| Err(gone())),
                }
            }),
            Some(sagas) => sagas.save(change),
            None => Box::pin(std::future::ready(Err(gone()))),
        }
    }

    fn enter(&self, store: &Arc<dyn Driver>, change: SagaChange) -> Entered {
        let mut queue = lock(&self.0);
        if queue.under_way < UNDER_WAY {
            queue.under_way += 1;
            return Entered::Now(change, Turn { store: Arc::clone(store), queue: Arc::clone(&self.0) });
        }
        let (answer, answered) = oneshot::channel();
        queue.waiting.push_back(Waiting { change, answer });
        Entered::Later(answered)
    }
}

enum Entered {
    Now(SagaChange, Turn),
    Later(oneshot::Receiver<Answer>),
}

/// One of the calls under way. Over, those that wait have it: also where whoever had it was dropped.
struct Turn {
    store: Arc<dyn Driver>,
    queue: Arc<Mutex<Queue>>,
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
        let next = queue.next();
        // Without a runtime nobody waits.
        let runtime = Handle::try_current().ok().filter(|_| !next.is_empty());
        let Some(runtime) = runtime else {
            queue.under_way -= 1;
            return;
        };
        drop(queue);
        let turn = Self { store: Arc::clone(&self.store), queue: Arc::clone(&self.queue) };
        let store = Arc::clone(&self.store);
        runtime.spawn(async move { turn.during(save_all(&store, next)).await });
    }
}

/// Stores changes together; by themselves those that are few, or came to nothing.
async fn save_all(store: &Arc<dyn Driver>, waiting: Vec<Waiting>) {
    let Some(sagas) = store.sagas() else { return };
    let left = if waiting.len() > FEW { save_many(sagas, waiting).await } else { waiting };
    let by_themselves = left.into_iter().map(|Waiting { change, answer }| async move {
        // Whoever has stopped waiting is not told.
        let _ = answer.send(sagas.save(change).await);
    });
    join_all(by_themselves).await;
}

/// Gives those of which nothing was stored.
async fn save_many(sagas: &dyn Sagas, waiting: Vec<Waiting>) -> Vec<Waiting> {
    let changes = waiting.iter().map(|waiting| waiting.change.clone()).collect();
    let saved = match sagas.save_many(changes).await {
        Ok(saved) => saved,
        Err(error) => {
            tracing::debug!(error = chain(&error), "what became of several sagas could not be stored together");
            return waiting;
        }
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

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "what became of a saga was not stored")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::store::{SagaClaim, SagaPhase, SagaRest};

    fn asked_for(queue: &mut Queue, id: &str, fence: i64) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let claim = SagaClaim { id: id.to_owned(), fence };
        let change = SagaChange::new(claim, SagaPhase::Forward, SystemTime::UNIX_EPOCH, SagaRest::Held);
        queue.waiting.push_back(Waiting { change, answer });
        answered
    }

    fn taken(queue: &mut Queue) -> Vec<(String, i64)> {
        queue.next().into_iter().map(|waiting| (waiting.change.claim.id, waiting.change.claim.fence)).collect()
    }

    #[test]
    fn of_a_saga_one_change_goes_at_a_time_and_of_nobody_who_has_stopped_waiting() {
        let mut queue = Queue::default();
        let own = |all: &[(&str, i64)]| all.iter().map(|(id, fence)| ((*id).to_owned(), *fence)).collect::<Vec<_>>();
        let _wanted = [("a", 1), ("b", 1), ("a", 2), ("c", 1)].map(|(id, fence)| asked_for(&mut queue, id, fence));
        drop(asked_for(&mut queue, "d", 1));
        assert_eq!(taken(&mut queue), own(&[("a", 1), ("b", 1), ("c", 1)]));
        assert_eq!(taken(&mut queue), own(&[("a", 2)]));
        assert_eq!(taken(&mut queue), []);
    }

    #[test]
    fn what_is_large_goes_by_itself() {
        let mut queue = Queue::default();
        let _wanted = [("a", 10), ("b", MOST_BYTES), ("c", 2 * MOST_BYTES), ("d", 10), ("e", 10)].map(|(id, bytes)| {
            let answer = asked_for(&mut queue, id, 1);
            queue.waiting.back_mut().unwrap().change.context = Some(vec![0; bytes]);
            answer
        });
        let mut ids = || taken(&mut queue).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!([ids(), ids(), ids(), ids()], [vec!["a"], vec!["b"], vec!["c"], vec!["d", "e"]]);
    }

    #[test]
    fn those_that_have_waited_longest_go_first_and_no_more_than_fit() {
        let mut queue = Queue::default();
        let _wanted: Vec<_> = (0..150).map(|number| asked_for(&mut queue, &number.to_string(), number)).collect();
        let fences = |queue: &mut Queue| taken(queue).into_iter().map(|(_, fence)| fence).collect::<Vec<_>>();
        assert_eq!(fences(&mut queue), (0..64).collect::<Vec<_>>());
        assert_eq!(fences(&mut queue), (64..128).collect::<Vec<_>>());
        assert_eq!(fences(&mut queue), (128..150).collect::<Vec<_>>());
    }
}
