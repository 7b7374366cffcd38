//! Sagas: started once, held by one, changed as a whole, woken when it is time.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::bench::{Bench, LEASE, LONG_LEASE, at, request};
use crate::store::driver::{ClaimRequest, Driver};
use crate::store::{
    AuditAction, AuditSource, AwaitedEvent, ClaimedSaga, Operation, SagaAsked, SagaChange, SagaClaim, SagaFilter,
    SagaLog, SagaNames, SagaPhase, SagaProgress, SagaRest, SagaRow, SagaSaved, SagaStart, SagaStarted, SagaStep,
    SagaUse, SagaWait, Sagas, Signed,
};

fn sagas(store: &dyn Driver) -> &dyn Sagas {
    store.sagas().unwrap_or_else(|| panic!("the store `{}` has no sagas", store.name()))
}

fn step(name: &str, progress: SagaProgress) -> SagaStep {
    SagaStep::new(name, progress)
}

fn waits(name: &str, wait: &SagaWait) -> SagaStep {
    SagaStep { attempt: 0, wait: Some(wait.clone()), ..step(name, SagaProgress::Awaiting) }
}

fn wait(key: &str) -> SagaWait {
    SagaWait { saga: "checkout".to_owned(), event: "paid".to_owned(), key: key.to_owned() }
}

fn start(id: &str, seconds: u64) -> SagaStart {
    SagaStart {
        id: id.to_owned(),
        name: "checkout".to_owned(),
        version: 1,
        context: br#"{"order":"42"}"#.to_vec(),
        digest: [7; 32],
        headers: BTreeMap::from([("traceparent".to_owned(), "00-ä\"-01".to_owned())]),
        steps: vec![step("reserve", SagaProgress::Running)],
        at: at(seconds),
        owner: "one".to_owned(),
        lease_until: at(seconds) + LEASE,
    }
}

/// Starts a saga that there is not yet.
async fn begin(store: &dyn Driver, start: SagaStart) -> SagaClaim {
    match sagas(store).start(start).await.unwrap() {
        SagaStarted::New(claim) => claim,
        known @ SagaStarted::Known { .. } => panic!("it was not there before: {known:?}"),
    }
}

fn change(claim: &SagaClaim, rest: SagaRest) -> SagaChange {
    SagaChange::new(claim.clone(), SagaPhase::Forward, at(1), rest)
}

const STORED: SagaSaved = SagaSaved::Stored(None);

async fn save(store: &dyn Driver, change: SagaChange) -> SagaSaved {
    sagas(store).save(change).await.unwrap()
}

/// Stores a change in a transaction, and commits where the saga is still held.
async fn save_within(store: &dyn Driver, change: SagaChange) -> SagaSaved {
    let mut tx = store.begin().await.unwrap();
    let saved = tx.save_saga(change).await.unwrap();
    if saved != SagaSaved::Lost {
        tx.commit().await.unwrap();
    }
    saved
}

async fn claim(store: &dyn Driver, owner: &str, seconds: u64) -> Vec<ClaimedSaga> {
    sagas(store).claim(request(owner, seconds, 100), SagaNames::ALL).await.unwrap()
}

async fn row(store: &dyn Driver, id: &str) -> SagaRow {
    sagas(store).saga(id).await.unwrap().unwrap_or_else(|| panic!("there is no saga `{id}`")).0
}

fn ids(claimed: &[ClaimedSaga]) -> Vec<&str> {
    claimed.iter().map(|saga| saga.row.id.as_str()).collect()
}

pub(super) async fn a_saga_is_there_as_it_was_started(store: Bench) {
    let begun = start("größer", 3);
    let claim = begin(&*store, begun.clone()).await;
    assert_eq!(claim.id, "größer");
    let (row, steps) = sagas(&*store).saga("größer").await.unwrap().unwrap();
    let expected = SagaRow {
        id: begun.id.clone(),
        name: begun.name.clone(),
        version: 1,
        phase: SagaPhase::Forward,
        why: String::new(),
        context: begun.context.clone(),
        headers: begun.headers.clone(),
        is_cancelled: false,
        cuts: 0,
        asked: None,
        error: None,
        logged: 0,
        started_at: at(3),
        changed_at: at(3),
        due_at: None,
        is_held: true,
    };
    assert_eq!((row, steps), (expected, begun.steps));
    assert_eq!(sagas(&*store).saga("another").await.unwrap(), None);
    assert_eq!(sagas(&*store).next_due(SagaNames::ALL).await.unwrap(), None, "it is in good hands");
}

pub(super) async fn an_id_is_started_once(store: Bench) {
    begin(&*store, start("s", 1)).await;
    let other = SagaStart { name: "refund".to_owned(), digest: [8; 32], ..start("s", 2) };
    let known = SagaStarted::Known { name: "checkout".to_owned(), version: 1, digest: [7; 32] };
    assert_eq!(sagas(&*store).start(other).await.unwrap(), known);
    let mut tasks = Vec::new();
    for owner in ["one", "two", "three"] {
        let (store, start) = (store.another().await, SagaStart { owner: owner.to_owned(), ..start("t", 1) });
        tasks.push(tokio::spawn(async move { sagas(&*store).start(start).await.unwrap() }));
    }
    let mut new = 0;
    for task in tasks {
        new += usize::from(matches!(task.await.unwrap(), SagaStarted::New(_)));
    }
    assert_eq!(new, 1, "of those that start it at once one has");
}

pub(super) async fn a_saga_is_held_by_one(store: Bench) {
    let first = begin(&*store, start("s", 0)).await;
    let other = store.another().await;
    assert!(claim(&*other, "two", 4).await.is_empty(), "the lease lasts");
    let mut taken = Vec::new();
    for seconds in 5..10 {
        taken.extend(claim(&*other, "two", seconds).await);
    }
    let [second] = taken.as_slice() else { panic!("it was taken up {} times in ten seconds", taken.len()) };
    assert!(second.was_held && second.row.is_held && second.claim.fence > first.fence);
    assert_eq!(second.steps, start("s", 0).steps);
    for saved in [
        save(&*store, change(&first, SagaRest::Nobody)).await,
        save_within(&*store, change(&first, SagaRest::Held)).await,
    ] {
        assert_eq!(saved, SagaSaved::Lost, "it is another's by now");
    }
    assert_eq!(sagas(&*store).renew(vec![first], at(60)).await.unwrap(), []);
    assert_eq!(save(&*other, change(&second.claim, SagaRest::Held)).await, STORED);
}

pub(super) async fn a_renewed_saga_stays_its_owners(store: Bench) {
    let held = begin(&*store, start("s", 0)).await;
    let other = store.another().await;
    for seconds in [4, 8, 12] {
        let renewed = sagas(&*store).renew(vec![held.clone()], at(seconds) + LEASE).await.unwrap();
        assert_eq!(renewed, std::slice::from_ref(&held));
        assert!(claim(&*other, "two", seconds).await.is_empty());
    }
    assert!(claim(&*other, "two", 16).await.is_empty());
    assert_eq!(sagas(&*store).renew(Vec::new(), at(60)).await.unwrap(), []);
}

fn logged(number: u32, progress: SagaProgress, error: Option<&str>) -> SagaLog {
    let (began_at, ended_at) = (at(1) + Duration::from_micros(3), at(1) + Duration::from_micros(900));
    let step = "reserve".to_owned();
    SagaLog {
        number,
        step,
        is_undo: number > 2,
        attempt: number,
        began_at,
        ended_at,
        progress,
        error: error.map(str::to_owned),
    }
}

pub(super) async fn a_change_is_stored_as_a_whole(store: Bench) {
    let held = begin(&*store, start("s", 0)).await;
    let log = vec![logged(1, SagaProgress::Pausing, Some("no \0 stock")), logged(2, SagaProgress::Done, None)];
    let charged = SagaStep {
        attempt: 3,
        in_doubt: true,
        due_at: Some(at(9)),
        wait: Some(wait("42")),
        event: Some(Uuid::now_v7()),
        returned: Some(br#"{"id":1}"#.to_vec()),
        error: Some("declined".to_owned()),
        ..step("charge", SagaProgress::Pausing)
    };
    let steps = vec![step("reserve", SagaProgress::Done), charged];
    let first = SagaChange {
        version: Some(8),
        context: Some(b"{}".to_vec()),
        cuts: 2,
        error: Some("declined".to_owned()),
        steps: steps.clone(),
        log: log.clone(),
        ..change(&held, SagaRest::Held)
    };
    assert_eq!(save(&*store, first).await, STORED);
    let (row, mut stored) = sagas(&*store).saga("s").await.unwrap().unwrap();
    stored.sort_by(|one, other| other.step.cmp(&one.step));
    assert_eq!(stored, steps);
    assert_eq!(
        (row.context.as_slice(), row.cuts, row.error.as_deref(), row.logged),
        (&b"{}"[..], 2, Some("declined"), 2)
    );
    assert_eq!((row.changed_at, row.is_held, row.version), (at(1), true, 8));
    let last = SagaChange {
        phase: SagaPhase::Stuck,
        why: "undoing".to_owned(),
        is_cancelled: true,
        log: vec![logged(3, SagaProgress::Kept, Some("gone"))],
        ..change(&held, SagaRest::Nobody)
    };
    assert_eq!(save_within(&*store, last).await, STORED);
    let (row, stored) = sagas(&*store).saga("s").await.unwrap().unwrap();
    assert_eq!(
        (row.phase, row.why.as_str(), row.is_cancelled, row.is_held),
        (SagaPhase::Stuck, "undoing", true, false)
    );
    assert_eq!(row.version, 8);
    assert_eq!((row.context.as_slice(), row.error, row.logged, stored.len()), (&b"{}"[..], None, 3, 2));
    let mut read = sagas(&*store).log("s").await.unwrap();
    assert_eq!(read.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3]);
    // In the text of an error a store may not keep U+0000.
    assert!(read[0].error.take().is_some_and(|error| error.starts_with("no ") && error.ends_with(" stock")));
    assert_eq!(read[1..], [log[1].clone(), logged(3, SagaProgress::Kept, Some("gone"))]);
}

/// Changes of all kinds to sagas that have just begun; some are asked to go back, one is another's, one is not there.
async fn various(store: &dyn Driver, prefix: &str) -> Vec<SagaChange> {
    let mut held = Vec::new();
    for number in 0..9 {
        held.push(begin(store, start(&format!("{prefix}-{number}"), 0)).await);
    }
    for number in [1, 2, 3] {
        assert!(sagas(store).ask(&held[number].id, SagaAsked::Cancel, at(2)).await.unwrap());
    }
    for number in [4, 5] {
        sagas(store).poke(&held[number].id, at(2)).await.unwrap();
    }
    held[7].fence += 1;
    held[8].id.push('?');
    let [running, done] = [SagaProgress::Running, SagaProgress::Done];
    let (log, waiting) = (vec![logged(1, done, Some("no"))], waits("charge", &wait("42")));
    let context = Some(b"{\"changed\":true}".to_vec());
    let [first, second, third, fourth, fifth, sixth, seventh, eighth, ninth] = <[_; 9]>::try_from(held).unwrap();
    vec![
        SagaChange {
            steps: vec![step("reserve", done), step("charge", running)],
            log,
            context,
            ..change(&first, SagaRest::Held)
        },
        change(&second, SagaRest::Until(at(90))),
        SagaChange { heard: Some(SagaAsked::Cancel), is_cancelled: true, ..change(&third, SagaRest::Until(at(90))) },
        change(&fourth, SagaRest::Held),
        SagaChange { steps: vec![waiting], ..change(&fifth, SagaRest::Until(at(90))) },
        change(&sixth, SagaRest::Nobody),
        SagaChange {
            phase: SagaPhase::Completed,
            version: Some(3),
            steps: vec![step("a", done), step("b", done), step("c", done)],
            log: vec![logged(1, done, None), logged(2, SagaProgress::Kept, Some("twice"))],
            ..change(&seventh, SagaRest::Nobody)
        },
        change(&eighth, SagaRest::Held),
        change(&ninth, SagaRest::Held),
    ]
}

/// A saga with all that is stored of it, and what a change to it came to.
type Whole = (SagaSaved, Option<(SagaRow, Vec<SagaStep>)>, Vec<SagaLog>);

async fn whole(store: &dyn Driver, id: &str, saved: SagaSaved) -> Whole {
    let mut found = sagas(store).saga(id).await.unwrap();
    if let Some((row, steps)) = &mut found {
        row.id.clear();
        steps.sort_by(|one, other| one.step.cmp(&other.step));
    }
    (saved, found, sagas(store).log(id).await.unwrap())
}

pub(super) async fn changes_together_are_as_each_by_itself(store: Bench) {
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    for one in various(&*store, "alone").await {
        let id = one.claim.id.clone();
        let saved = save(&*store, one).await;
        expected.push(whole(&*store, &id, saved).await);
    }
    let changes = various(&*store, "together").await;
    let saved = sagas(&*store).save_many(changes.clone()).await.unwrap();
    assert_eq!(saved.len(), changes.len(), "one for each");
    let stored = saved.iter().filter(|saved| matches!(saved, Some(SagaSaved::Stored(_)))).count();
    assert_eq!(stored, if sagas(&*store).saves_many().is_some() { 7 } else { 0 });
    for (one, saved) in changes.into_iter().zip(saved) {
        let id = one.claim.id.clone();
        let saved = match saved {
            Some(saved) => saved,
            None => save(&*store, one).await,
        };
        found.push(whole(&*store, &id, saved).await);
    }
    assert_eq!(found, expected);
    assert_eq!(sagas(&*store).save_many(Vec::new()).await.unwrap(), []);
}

pub(super) async fn a_change_commits_with_its_transaction(store: Bench) {
    let held = begin(&*store, start("s", 0)).await;
    let done = || SagaChange {
        steps: vec![step("reserve", SagaProgress::Done)],
        log: vec![logged(1, SagaProgress::Done, None)],
        ..change(&held, SagaRest::Nobody)
    };
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.save_saga(done()).await.unwrap(), STORED);
    tx.rollback().await.unwrap();
    assert!(row(&*store, "s").await.is_held, "it is as if it had not been");
    assert_eq!(sagas(&*store).log("s").await.unwrap(), []);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.save_saga(done()).await.unwrap(), STORED);
    drop(tx);
    assert_eq!(save_within(&*store, done()).await, STORED);
    let (row, steps) = sagas(&*store).saga("s").await.unwrap().unwrap();
    assert_eq!((row.is_held, steps[0].progress, row.logged), (false, SagaProgress::Done, 1));
}

pub(super) async fn what_waits_is_due_in_its_time(store: Bench) {
    for (id, due) in [("late", 30), ("soon", 20), ("now", 10)] {
        let held = begin(&*store, start(id, 0)).await;
        assert_eq!(save(&*store, change(&held, SagaRest::Until(at(due)))).await, STORED);
        assert_eq!(row(&*store, id).await.due_at, Some(at(due)));
        assert_eq!(save(&*store, change(&held, SagaRest::Held)).await, SagaSaved::Lost, "it was let go");
    }
    for (id, phase) in [("done", SagaPhase::Completed), ("stuck", SagaPhase::Stuck)] {
        let held = begin(&*store, start(id, 0)).await;
        assert_eq!(save(&*store, SagaChange { phase, ..change(&held, SagaRest::Nobody) }).await, STORED);
    }
    assert_eq!(sagas(&*store).next_due(SagaNames::ALL).await.unwrap(), Some(at(10)));
    assert!(claim(&*store, "one", 9).await.is_empty());
    let none = ClaimRequest { limit: 0, ..request("one", 40, 0) };
    assert!(sagas(&*store).claim(none, SagaNames::ALL).await.unwrap().is_empty(), "nothing was asked for");
    let first = sagas(&*store).claim(request("one", 40, 2), SagaNames::ALL).await.unwrap();
    assert_eq!(ids(&first), ["now", "soon"]);
    assert!(first.iter().all(|saga| !saga.was_held && saga.row.is_held));
    let later = ClaimRequest { lease_until: at(40) + LONG_LEASE, ..request("two", 40, 9) };
    let rest = sagas(&*store).claim(later, SagaNames::ALL).await.unwrap();
    assert_eq!(ids(&rest), ["late"]);
    assert_eq!(sagas(&*store).next_due(SagaNames::ALL).await.unwrap(), None);
}

pub(super) async fn a_claim_takes_those_of_the_names_that_are_meant(store: Bench) {
    for (id, name, due) in [("a1", "a", 10), ("a2", "a", 11), ("b1", "b", 12), ("c1", "c", 13)] {
        let held = begin(&*store, SagaStart { name: name.to_owned(), ..start(id, 0) }).await;
        assert_eq!(save(&*store, change(&held, SagaRest::Until(at(due)))).await, STORED);
    }
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (all, look) = (sagas(&*store), |seconds| ClaimRequest { lease_until: at(30), ..request("one", seconds, 9) });
    for (meant, due) in [
        (SagaNames::ALL, Some(at(10))),
        (SagaNames::AllBut(names(&["a"])), Some(at(12))),
        (SagaNames::AllBut(names(&["a", "b", "none"])), Some(at(13))),
        (SagaNames::Only(names(&["b", "c"])), Some(at(12))),
        (SagaNames::Only(names(&["none"])), None),
        (SagaNames::Only(Vec::new()), None),
    ] {
        assert_eq!(all.next_due(meant.clone()).await.unwrap(), due, "{meant:?}");
        for seconds in [9, 10, 12, 13] {
            let is_due = due.is_some_and(|due| due <= at(seconds));
            assert_eq!(
                all.is_any_due(at(seconds), at(0), meant.clone()).await.unwrap(),
                is_due,
                "{seconds}, {meant:?}"
            );
        }
    }
    assert!(all.claim(look(11), SagaNames::AllBut(names(&["a"]))).await.unwrap().is_empty());
    let one = ClaimRequest { limit: 1, ..look(20) };
    assert_eq!(ids(&all.claim(one, SagaNames::Only(names(&["a"]))).await.unwrap()), ["a1"]);
    assert_eq!(ids(&all.claim(look(20), SagaNames::AllBut(names(&["a"]))).await.unwrap()), ["b1", "c1"]);
    // So are those that somebody held whose lease has run out; who is doubted first is asked for twice.
    let is_late = async |name| all.is_any_due(at(0), at(100), SagaNames::Only(names(&[name]))).await.unwrap();
    assert_eq!([is_late("a").await, is_late("b").await, is_late("none").await], [true, true, false]);
    let mut late = Vec::new();
    for seconds in [100, 200] {
        late.extend(all.claim(request("two", seconds, 9), SagaNames::Only(names(&["b"]))).await.unwrap());
    }
    assert_eq!(ids(&late)[0], "b1");
    assert!(late.iter().all(|saga| saga.row.name == "b" && saga.was_held));
    assert_eq!(all.next_due(SagaNames::ALL).await.unwrap(), Some(at(11)), "it is where it was");
}

pub(super) async fn what_is_handed_back_is_due_at_once(store: Bench) {
    let held = begin(&*store, start("s", 0)).await;
    let theirs = begin(&*store, SagaStart { owner: "two".to_owned(), ..start("t", 0) }).await;
    sagas(&*store).hand_back("one", at(1)).await.unwrap();
    assert_eq!(save(&*store, change(&held, SagaRest::Held)).await, SagaSaved::Lost);
    assert_eq!(save(&*store, change(&theirs, SagaRest::Held)).await, STORED);
    let taken = claim(&*store, "three", 1).await;
    assert_eq!(ids(&taken), ["s"]);
    assert!(!taken[0].was_held, "its owner was not lost");
}

pub(super) async fn what_is_asked_is_heard(store: Bench) {
    let all = sagas(&*store);
    let held = begin(&*store, start("s", 0)).await;
    assert!(!all.ask("s", SagaAsked::Resume, at(1)).await.unwrap(), "it is not stuck");
    assert!(!all.ask("none", SagaAsked::Cancel, at(1)).await.unwrap());
    assert!(all.ask("s", SagaAsked::Cancel, at(1)).await.unwrap());
    let asked = SagaSaved::Stored(Some(SagaAsked::Cancel));
    assert_eq!(save(&*store, change(&held, SagaRest::Held)).await, asked);
    assert_eq!(save_within(&*store, change(&held, SagaRest::Held)).await, asked, "until it is heard");
    // Let go without having heard it, it is due at once.
    assert_eq!(save(&*store, change(&held, SagaRest::Until(at(90)))).await, asked);
    let again = claim(&*store, "one", 1).await;
    assert_eq!((ids(&again), again[0].row.asked), (vec!["s"], Some(SagaAsked::Cancel)));
    let back = SagaChange {
        phase: SagaPhase::Compensating,
        is_cancelled: true,
        heard: Some(SagaAsked::Cancel),
        ..change(&again[0].claim, SagaRest::Until(at(50)))
    };
    assert_eq!(save(&*store, back).await, STORED);
    assert!(!all.ask("s", SagaAsked::Cancel, at(2)).await.unwrap(), "it does not go forward any more");
    assert!(claim(&*store, "one", 49).await.is_empty());
    let again = claim(&*store, "one", 50).await;
    let stuck = SagaChange { phase: SagaPhase::Stuck, ..change(&again[0].claim, SagaRest::Nobody) };
    assert_eq!(save(&*store, stuck).await, STORED);
    assert!(all.ask("s", SagaAsked::Resume, at(60)).await.unwrap());
    assert_eq!(all.next_due(SagaNames::ALL).await.unwrap(), Some(at(60)));
    let again = claim(&*store, "one", 60).await;
    assert_eq!((ids(&again), again[0].row.asked), (vec!["s"], Some(SagaAsked::Resume)));
}

async fn arrive(store: &dyn Driver, key: &str, seconds: u64) -> AwaitedEvent {
    let event = AwaitedEvent {
        id: Uuid::now_v7(),
        wait: wait(key),
        version: 2,
        payload: b"{}".to_vec(),
        headers: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        at: at(seconds),
    };
    let mut tx = store.begin().await.unwrap();
    tx.keep_awaited(event.clone(), at(seconds)).await.unwrap();
    tx.commit().await.unwrap();
    sagas(store).tell(at(seconds)).await.unwrap();
    event
}

pub(super) async fn an_event_wakes_what_waits_for_it(store: Bench) {
    let all = sagas(&*store);
    let parked = |claim: &SagaClaim, key: &str| SagaChange {
        steps: vec![waits("confirm", &wait(key))],
        ..change(claim, SagaRest::Until(at(900)))
    };
    let early = arrive(&*store, "a", 1).await;
    let dropped = AwaitedEvent { id: Uuid::now_v7(), ..early.clone() };
    let mut tx = store.begin().await.unwrap();
    tx.keep_awaited(dropped, at(1)).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(all.awaited(wait("a")).await.unwrap(), std::slice::from_ref(&early));
    let (a, b) = (begin(&*store, start("a", 0)).await, begin(&*store, start("b", 0)).await);
    for (claim, key) in [(&a, "a"), (&b, "b")] {
        assert_eq!(save(&*store, parked(claim, key)).await, STORED);
    }
    assert_eq!(all.next_due(SagaNames::ALL).await.unwrap(), Some(at(900)));
    let late = arrive(&*store, "a", 5).await;
    let claimed = claim(&*store, "one", 5).await;
    assert_eq!(ids(&claimed), ["a"], "and nobody else");
    let awaited = all.awaited(wait("a")).await.unwrap();
    assert_eq!(awaited, [early, late]);
    assert!(awaited.starts_with(&claimed[0].events), "{:?} are not those that came first", claimed[0].events);
    for other in [
        wait("A"),
        SagaWait { event: "refused".to_owned(), ..wait("a") },
        SagaWait { saga: "refund".to_owned(), ..wait("a") },
    ] {
        assert_eq!(all.awaited(other).await.unwrap(), []);
    }
    // What somebody holds meanwhile is due as soon as it is let go.
    all.poke("b", at(6)).await.unwrap();
    let [again] = claim(&*store, "one", 6).await.try_into().unwrap_or_else(|all| panic!("{all:?}"));
    arrive(&*store, "b", 7).await;
    assert_eq!(save(&*store, parked(&again.claim, "b")).await, STORED);
    assert_eq!(ids(&claim(&*store, "one", 8).await), ["b"]);
}

pub(super) async fn sagas_are_found_page_by_page(store: Bench) {
    for n in 0..7_u64 {
        let held = begin(&*store, start(&format!("s{n}"), n / 3)).await;
        if n % 2 == 1 {
            let ended = SagaChange { phase: SagaPhase::Completed, ..change(&held, SagaRest::Nobody) };
            assert_eq!(save(&*store, ended).await, STORED);
        }
    }
    let refund = begin(&*store, SagaStart { name: "refund".to_owned(), version: 3, ..start("r", 9) }).await;
    let found = async |filter: SagaFilter, limit| -> Vec<String> {
        sagas(&*store).find(filter, limit).await.unwrap().into_iter().map(|row| row.id).collect()
    };
    let checkouts = || SagaFilter { name: Some("checkout".to_owned()), ..SagaFilter::default() };
    assert_eq!(found(SagaFilter::default(), 2).await, ["r", "s6"]);
    assert_eq!(found(checkouts(), 9).await, ["s6", "s3", "s4", "s5", "s0", "s1", "s2"]);
    let behind = SagaFilter { started_before: Some(at(1)), after_id: Some("s4".to_owned()), ..checkouts() };
    assert_eq!(found(behind, 3).await, ["s5", "s0", "s1"]);
    let before = SagaFilter { started_before: Some(at(1)), ..checkouts() };
    assert_eq!(found(before, 9).await, ["s0", "s1", "s2"]);
    let ended = SagaFilter { phase: Some(SagaPhase::Completed), ..SagaFilter::default() };
    assert_eq!(found(ended, 9).await, ["s3", "s5", "s1"]);
    let mut used = sagas(&*store).in_use().await.unwrap();
    used.sort_by(|a, b| (&a.name, &a.step).cmp(&(&b.name, &b.step)));
    let one = |name: &str, version, step: Option<&str>, count| SagaUse {
        name: name.to_owned(),
        version,
        phase: SagaPhase::Forward,
        step: step.map(str::to_owned),
        count,
    };
    let expected = [
        one("checkout", 1, None, 4),
        one("checkout", 1, Some("reserve"), 4),
        one("refund", 3, None, 1),
        one("refund", 3, Some("reserve"), 1),
    ];
    assert_eq!(used, expected);
    let stuck = SagaChange { phase: SagaPhase::Stuck, ..change(&refund, SagaRest::Nobody) };
    assert_eq!(save(&*store, stuck).await, STORED);
    let used = sagas(&*store).in_use().await.unwrap();
    let stuck = used.iter().filter(|used| used.phase == SagaPhase::Stuck).map(|used| (used.name.as_str(), used.count));
    assert_eq!(stuck.collect::<Vec<_>>(), [("refund", 1); 2], "itself and its step");
}

/// Somebody's name, and what he asks, in one transaction.
pub(super) async fn what_is_asked_of_a_saga_is_written_down(store: Bench) {
    let held = begin(&*store, start("s", 0)).await;
    let operations = super::operations::of(&*store);
    let ask = async |id: &str, asked: SagaAsked| {
        let signed = Signed { by: "anna".to_owned(), at: at(7), note: "ticket 7".to_owned() };
        operations.operate(Operation::AskSaga { id: id.to_owned(), asked }, signed).await.unwrap()
    };
    assert!(!ask("nobody", SagaAsked::Cancel).await);
    assert!(!ask("s", SagaAsked::Resume).await);
    assert!(operations.audit(None, 9).await.unwrap().is_empty());
    assert!(ask("s", SagaAsked::Cancel).await);
    let saved = save(&*store, change(&held, SagaRest::Held)).await;
    assert_eq!(saved, SagaSaved::Stored(Some(SagaAsked::Cancel)));
    let stuck =
        SagaChange { phase: SagaPhase::Stuck, heard: Some(SagaAsked::Cancel), ..change(&held, SagaRest::Nobody) };
    assert_eq!(save(&*store, stuck).await, STORED);
    assert!(ask("s", SagaAsked::Resume).await);
    let entries = operations.audit(None, 9).await.unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry.action, entry.source, entry.key.as_deref())).collect();
    let expected = [AuditAction::ResumeSaga, AuditAction::CancelSaga];
    assert_eq!(told, expected.map(|action| (action, AuditSource::Saga, Some("s"))));
    assert!(
        entries.iter().all(|entry| (entry.by.as_str(), entry.name.as_str()) == ("anna", "checkout")),
        "{entries:?}"
    );
    let claimed = claim(&*store, "two", 7).await;
    assert_eq!(claimed.iter().map(|saga| saga.row.asked).collect::<Vec<_>>(), [Some(SagaAsked::Resume)]);
}

pub(super) async fn what_has_ended_goes_when_it_is_purged(store: Bench) {
    let all = sagas(&*store);
    let phases = [SagaPhase::Completed, SagaPhase::Compensated, SagaPhase::Stuck, SagaPhase::Forward];
    for (n, phase) in phases.into_iter().enumerate() {
        let held = begin(&*store, start(&format!("s{n}"), 0)).await;
        let ended = SagaChange {
            phase,
            at: at(5),
            log: vec![logged(1, SagaProgress::Done, None)],
            ..change(&held, SagaRest::Nobody)
        };
        assert_eq!(save(&*store, ended).await, STORED);
    }
    arrive(&*store, "a", 5).await;
    assert_eq!(all.purge(at(5), at(5)).await.unwrap(), 0);
    assert_eq!(all.purge(at(6), at(5)).await.unwrap(), 2);
    assert_eq!(all.awaited(wait("a")).await.unwrap().len(), 1);
    assert_eq!(all.log("s0").await.unwrap(), []);
    assert_eq!(all.log("s2").await.unwrap().len(), 1, "a stuck one has not ended");
    assert_eq!(all.purge(at(6), at(6)).await.unwrap(), 0);
    assert_eq!(all.awaited(wait("a")).await.unwrap(), []);
    let left: Vec<String> = all.find(SagaFilter::default(), 9).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(left, ["s2", "s3"]);
    // The id is free again.
    begin(&*store, start("s0", 7)).await;
}
