//! Sagas: rows that cannot be read, events whose sagas are locked, texts of every kind and too long ones.

use super::*;
use crate::store::{
    AwaitedEvent, SagaAsked, SagaChange, SagaClaim, SagaFilter, SagaLog, SagaNames, SagaPhase, SagaProgress, SagaRest,
    SagaSaved, SagaStart, SagaStarted, SagaStep, SagaWait, Sagas,
};

fn start(id: &str) -> SagaStart {
    SagaStart {
        id: id.to_owned(),
        name: "checkout".to_owned(),
        version: 1,
        context: b"{}".to_vec(),
        digest: [7; 32],
        headers: BTreeMap::new(),
        steps: Vec::new(),
        at: at(0),
        owner: "one".to_owned(),
        lease_until: at(5),
    }
}

async fn begin(store: &MySqlStore, start: SagaStart) -> SagaClaim {
    match store.start(start).await.unwrap() {
        SagaStarted::New(claim) => claim,
        known @ SagaStarted::Known { .. } => panic!("{known:?}"),
    }
}

fn step(name: &str, wait: Option<SagaWait>) -> SagaStep {
    SagaStep { attempt: 0, wait, ..SagaStep::new(name, SagaProgress::Awaiting) }
}

fn parked(claim: &SagaClaim, seconds: u64, steps: Vec<SagaStep>) -> SagaChange {
    SagaChange { steps, ..SagaChange::new(claim.clone(), SagaPhase::Forward, at(0), SagaRest::Until(at(seconds))) }
}

fn entry(number: u32) -> SagaLog {
    SagaLog {
        number,
        step: "first".to_owned(),
        is_undo: false,
        attempt: 1,
        began_at: at(0),
        ended_at: at(1),
        progress: SagaProgress::Done,
        error: None,
    }
}

async fn ids_due(store: &MySqlStore, seconds: u64) -> Vec<String> {
    let taken = store.claim(request("two", seconds, 9), SagaNames::ALL).await.unwrap();
    taken.into_iter().map(|saga| saga.row.id).collect()
}

#[tokio::test]
async fn a_saga_that_cannot_be_read_is_stuck_and_holds_up_no_other() {
    let (_place, store) = fresh().await;
    for id in ["a", "b", "c"] {
        let held = begin(&store, start(id)).await;
        assert_eq!(store.save(parked(&held, 1, Vec::new())).await.unwrap(), SagaSaved::Stored(None));
    }
    run_on(&store, "UPDATE cqrs_sagas SET headers = 'oops' WHERE id = 'a'").await;
    let dancing =
        "INSERT INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt) VALUES ('b', 's', 'dancing', 1, FALSE)";
    run_on(&store, dancing).await;
    assert_eq!(ids_due(&store, 2).await, ["c"]);
    let stuck = "SELECT COUNT(*) FROM cqrs_sagas WHERE phase = 'stuck' AND owner IS NULL AND due_at IS NULL \
                 AND error LIKE 'the row cannot be read: %'";
    assert_eq!(number(&store, stuck).await, 2);
    assert_eq!(store.next_due(SagaNames::ALL).await.unwrap(), None);
}

#[tokio::test]
async fn who_has_a_saga_locked_keeps_no_other_from_being_told_and_its_own_event_is_told_later() {
    let (_place, store) = fresh().await;
    let wait = |key: &str| SagaWait { saga: "checkout".to_owned(), event: "paid".to_owned(), key: key.to_owned() };
    for id in ["a", "b"] {
        let held = begin(&store, start(id)).await;
        store.save(parked(&held, 900, vec![step("confirm", Some(wait(id)))])).await.unwrap();
    }
    let mut locked = store.pool.begin().await.unwrap();
    locked.execute("SELECT * FROM cqrs_sagas WHERE id = 'a' FOR UPDATE").await.unwrap();
    let mut tx = store.begin().await.unwrap();
    for id in ["a", "b"] {
        let event = AwaitedEvent {
            id: Uuid::now_v7(),
            wait: wait(id),
            version: 1,
            payload: b"{}".to_vec(),
            headers: BTreeMap::new(),
            at: at(1),
        };
        tx.keep_awaited(event, at(1)).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(store.tell(at(1)).await.unwrap(), 1);
    assert_eq!(ids_due(&store, 1).await, ["b"]);
    locked.rollback().await.unwrap();
    assert_eq!(store.tell(at(2)).await.unwrap(), 1);
    assert_eq!(ids_due(&store, 2).await, ["a"]);
    assert_eq!(store.tell(at(3)).await.unwrap(), 0, "each event is told once");
}

#[tokio::test]
async fn texts_of_every_kind_come_back_as_they_were() {
    let (_place, store) = fresh().await;
    let wait = SagaWait { saga: "check\0out".to_owned(), event: "pa\0id".to_owned(), key: "\u{1a}0".to_owned() };
    let steps = vec![step("con\0firm", Some(wait.clone()))];
    let begun = SagaStart { name: "check\0out".to_owned(), steps: steps.clone(), ..start("s\0") };
    let held = begin(&store, begun).await;
    assert_eq!(store.renew(vec![held.clone()], at(60)).await.unwrap(), std::slice::from_ref(&held));
    let why = SagaChange { why: "a\0b".to_owned(), ..parked(&held, 1, Vec::new()) };
    assert_eq!(store.save(why).await.unwrap(), SagaSaved::Stored(None));
    let (row, stored) = store.saga("s\0").await.unwrap().unwrap();
    assert_eq!((row.id.as_str(), row.name.as_str(), row.why.as_str(), stored), ("s\0", "check\0out", "a\0b", steps));
    let named = SagaFilter { name: Some("check\0out".to_owned()), ..SagaFilter::default() };
    assert_eq!(store.find(named, 9).await.unwrap(), [row]);
    store.poke("s\0", at(0)).await.unwrap();
    assert_eq!(ids_due(&store, 0).await, ["s\0"]);
    assert_eq!(store.awaited(wait).await.unwrap(), []);
    let used = store.in_use().await.unwrap();
    assert!(used.iter().any(|used| used.step.as_deref() == Some("con\0firm")), "{used:?}");
}

#[tokio::test]
async fn ids_are_told_apart_byte_by_byte_and_too_long_ones_are_refused() {
    let (_place, store) = fresh().await;
    let longest = "ö".repeat(512);
    for id in ["s", "S", "s ", "s\0", "ß", "ss", longest.as_str()] {
        begin(&store, start(id)).await;
    }
    let error = store.start(start(&"ö".repeat(513))).await.unwrap_err();
    assert!(error.to_string().contains("a saga's id has 1026 bytes"), "{error}");
    let held = begin(&store, start("t")).await;
    let long = parked(&held, 1, vec![step(&"s".repeat(513), None)]);
    let error = store.save(long).await.unwrap_err();
    assert!(error.to_string().contains("a step's name has 513 bytes"), "{error}");
}

#[tokio::test]
async fn a_change_is_the_same_in_one_statement_and_in_several() {
    let (_place, mut store) = fresh().await;
    let mut seen = Vec::new();
    for is_mariadb in [store.is_mariadb, false] {
        store.is_mariadb = is_mariadb;
        let id = format!("s-{is_mariadb}-{}", seen.len());
        let held = begin(&store, SagaStart { steps: vec![step("first", None)], ..start(&id) }).await;
        assert!(store.ask(&id, SagaAsked::Cancel, at(1)).await.unwrap());
        let steps = vec![SagaStep { progress: SagaProgress::Done, ..step("first", None) }, step("second", None)];
        let log = vec![entry(1)];
        let change = SagaChange { log, rest: SagaRest::Held, ..parked(&held, 1, steps.clone()) };
        let asked = SagaSaved::Stored(Some(SagaAsked::Cancel));
        assert_eq!(store.save(change.clone()).await.unwrap(), asked);
        assert_eq!(store.save(change.clone()).await.unwrap(), asked, "and so it is when it is stored once more");
        let heard = SagaChange { heard: Some(SagaAsked::Cancel), log: vec![entry(2)], ..parked(&held, 1, Vec::new()) };
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.save_saga(heard).await.unwrap(), SagaSaved::Stored(None));
        tx.commit().await.unwrap();
        assert_eq!(store.save(change).await.unwrap(), SagaSaved::Lost);
        let (row, mut stored) = store.saga(&id).await.unwrap().unwrap();
        stored.sort_by(|one, other| one.step.cmp(&other.step));
        assert_eq!(stored, steps);
        let again = SagaStart { steps: vec![step("third", None)], ..start(&id) };
        assert!(matches!(store.start(again).await.unwrap(), SagaStarted::Known { .. }));
        seen.push((row.logged, row.asked, row.is_held, row.due_at, store.log(&id).await.unwrap().len(), stored.len()));
    }
    assert_eq!(seen[0], (2, None, false, Some(at(1)), 2, 2));
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_change_of_which_a_part_fails_is_undone_and_leaves_the_connection_free() {
    let (place, migrated) = fresh().await;
    let store = place.lent(1).await;
    let held = begin(&migrated, start("s")).await;
    run_on(&store, "ALTER TABLE cqrs_saga_log ADD CHECK (number < 2)").await;
    let change = |number| SagaChange { log: vec![entry(number)], rest: SagaRest::Held, ..parked(&held, 1, Vec::new()) };
    store.save(SagaChange { why: "never".to_owned(), ..change(2) }).await.unwrap_err();
    assert_eq!(migrated.saga("s").await.unwrap().unwrap().0.why, "");
    assert_eq!(migrated.save(change(1)).await.unwrap(), SagaSaved::Stored(None), "its row is not locked");
    assert_eq!(store.save(change(1)).await.unwrap(), SagaSaved::Stored(None));
}
