//! What goes when, and what becomes of each.

use std::time::SystemTime;

use super::*;
use crate::store::driver::ClaimRequest;
use crate::store::{
    AwaitedEvent, ClaimedSaga, SagaAsked, SagaClaim, SagaFilter, SagaLog, SagaNames, SagaPhase, SagaRest, SagaRow,
    SagaStart, SagaStarted, SagaStep, SagaUse, SagaWait,
};

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

#[test]
fn a_turn_that_is_overdue_keeps_nobody_waiting() {
    let (mut queue, begun) = (Queue::default(), Instant::now());
    for _ in 0..TURNS {
        assert!(queue.turn(begun).is_some());
    }
    assert_eq!(queue.turn(begun + PATIENCE / 2), None);
    assert!(queue.turn(begun + PATIENCE).is_some());
}

/// What a store says to changes that are stored together.
type Said = fn() -> Result<Vec<Option<SagaSaved>>, StoreErrorKind>;

/// A store that writes down how it was asked.
struct Asked {
    said: Said,
    calls: Mutex<Vec<String>>,
}

type Told<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl Sagas for Asked {
    fn save(&self, change: SagaChange) -> Told<'_, SagaSaved> {
        self.calls.lock().unwrap().push(change.claim.id);
        Box::pin(std::future::ready(Ok(SagaSaved::Lost)))
    }

    fn saves_many(&self) -> Option<usize> {
        Some(3)
    }

    fn save_many(&self, changes: Vec<SagaChange>) -> Told<'_, Vec<Option<SagaSaved>>> {
        let ids: Vec<_> = changes.into_iter().map(|change| change.claim.id).collect();
        self.calls.lock().unwrap().push(ids.join("+"));
        Box::pin(std::future::ready((self.said)().map_err(|kind| StoreError::new(kind, "said"))))
    }

    fn start(&self, _: SagaStart) -> Told<'_, SagaStarted> {
        unreachable!()
    }

    fn is_any_due(&self, _: SystemTime, _: SystemTime, _: SagaNames) -> Told<'_, bool> {
        unreachable!()
    }

    fn claim(&self, _: ClaimRequest<'_>, _: SagaNames) -> Told<'_, Vec<ClaimedSaga>> {
        unreachable!()
    }

    fn renew(&self, _: Vec<SagaClaim>, _: SystemTime) -> Told<'_, Vec<SagaClaim>> {
        unreachable!()
    }

    fn hand_back(&self, _: &str, _: SystemTime) -> Told<'_, ()> {
        unreachable!()
    }

    fn next_due(&self, _: SagaNames) -> Told<'_, Option<SystemTime>> {
        unreachable!()
    }

    fn ask(&self, _: &str, _: SagaAsked, _: SystemTime) -> Told<'_, bool> {
        unreachable!()
    }

    fn tell(&self, _: SystemTime) -> Told<'_, u64> {
        unreachable!()
    }

    fn poke(&self, _: &str, _: SystemTime) -> Told<'_, ()> {
        unreachable!()
    }

    fn awaited(&self, _: SagaWait) -> Told<'_, Vec<AwaitedEvent>> {
        unreachable!()
    }

    fn saga(&self, _: &str) -> Told<'_, Option<(SagaRow, Vec<SagaStep>)>> {
        unreachable!()
    }

    fn find(&self, _: SagaFilter, _: usize) -> Told<'_, Vec<SagaRow>> {
        unreachable!()
    }

    fn log(&self, _: &str) -> Told<'_, Vec<SagaLog>> {
        unreachable!()
    }

    fn in_use(&self) -> Told<'_, Vec<SagaUse>> {
        unreachable!()
    }

    fn purge(&self, _: SystemTime, _: SystemTime) -> Told<'_, u64> {
        unreachable!()
    }
}

/// How the store was asked for changes of these sagas, and what each was told.
async fn stored(ids: &[&str], said: Said) -> (Vec<String>, Vec<String>) {
    let (mut queue, store) = (Queue::default(), Asked { said, calls: Mutex::default() });
    let answers: Vec<_> = ids.iter().map(|id| asked_for(&mut queue, id, 1)).collect();
    let next = queue.next();
    save_all(&store, next).await;
    let mut told = Vec::new();
    for answer in answers {
        told.push(match answer.await.unwrap() {
            Ok(saved) => format!("{saved:?}"),
            Err(error) => format!("{:?}", error.kind()),
        });
    }
    (store.calls.into_inner().unwrap(), told)
}

#[tokio::test]
async fn few_are_stored_each_by_itself_and_many_together() {
    let all: Said = || Ok(vec![Some(SagaSaved::Stored(None)); 3]);
    assert_eq!(stored(&["a", "b"], all).await.0, ["a", "b"]);
    let (calls, told) = stored(&["a", "b", "c"], all).await;
    assert_eq!((calls, told), (vec!["a+b+c".to_owned()], vec!["Stored(None)".to_owned(); 3]));
}

#[tokio::test]
async fn what_came_to_nothing_together_is_stored_by_itself_which_says_why() {
    let (calls, told) =
        stored(&["a", "b", "c"], || Ok(vec![Some(SagaSaved::Stored(None)), None, Some(SagaSaved::Stored(None))])).await;
    assert_eq!(calls, ["a+b+c", "b"]);
    assert_eq!(told, ["Stored(None)", "Lost", "Stored(None)"]);
    let (calls, told) = stored(&["a", "b", "c"], || Err(StoreErrorKind::Constraint)).await;
    assert_eq!(calls, ["a+b+c", "a", "b", "c"]);
    assert_eq!(told, ["Lost"; 3]);
}

#[tokio::test]
async fn what_may_have_been_stored_and_what_no_store_was_there_for_each_is_told() {
    let all: [(StoreErrorKind, Said); 3] = [
        (StoreErrorKind::CommitUnknown, || Err(StoreErrorKind::CommitUnknown)),
        (StoreErrorKind::Unavailable, || Err(StoreErrorKind::Unavailable)),
        (StoreErrorKind::Busy, || Err(StoreErrorKind::Busy)),
    ];
    for (kind, said) in all {
        let (calls, told) = stored(&["a", "b", "c"], said).await;
        assert_eq!((calls, told), (vec!["a+b+c".to_owned()], vec![format!("{kind:?}"); 3]));
    }
}
