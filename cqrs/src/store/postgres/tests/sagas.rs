//! Sagas: rows that cannot be read, events whose sagas are locked, texts that the database would not take.

use std::sync::Arc;

use super::*;
use crate::saga::Together;
use crate::store::{
    AwaitedEvent, SagaChange, SagaClaim, SagaFilter, SagaNames, SagaPhase, SagaProgress, SagaRest, SagaSaved,
    SagaStart, SagaStarted, SagaStep, SagaWait, Sagas,
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
        lease_until: at(0) + LEASE,
    }
}

async fn begin(store: &PostgresStore, start: SagaStart) -> SagaClaim {
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

async fn ids_due(store: &PostgresStore, seconds: u64) -> Vec<String> {
    let taken = store.claim(request("two", seconds, 9), SagaNames::ALL).await.unwrap();
    taken.into_iter().map(|saga| saga.row.id).collect()
}

#[tokio::test]
async fn a_saga_that_cannot_be_read_is_stuck_and_holds_up_no_other() {
    let (_schema, store) = fresh().await;
    for id in ["a", "b", "c"] {
        let held = begin(&store, start(id)).await;
        assert_eq!(store.save(parked(&held, 1, Vec::new())).await.unwrap(), SagaSaved::Stored(None));
    }
    run_sql(&store.pool, "UPDATE cqrs_sagas SET headers = 'oops' WHERE id = 'a'").await;
    let dancing =
        "INSERT INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt) VALUES ('b', 's', 'dancing', 1, FALSE)";
    run_sql(&store.pool, dancing).await;
    assert_eq!(ids_due(&store, 2).await, ["c"]);
    let stuck = "SELECT COUNT(*) FROM cqrs_sagas WHERE phase = 'stuck' AND owner IS NULL AND due_at IS NULL \
                 AND error LIKE 'the row cannot be read: %'";
    assert_eq!(number(&store.pool, stuck).await, 2);
    assert_eq!(store.next_due(SagaNames::ALL).await.unwrap(), None);
}

#[tokio::test]
async fn who_has_a_saga_locked_keeps_no_other_from_being_told_and_its_own_event_is_told_later() {
    let (_schema, store) = fresh().await;
    let wait = |key: &str| SagaWait { saga: "checkout".to_owned(), event: "paid".to_owned(), key: key.to_owned() };
    for id in ["a", "b"] {
        let held = begin(&store, start(id)).await;
        store.save(parked(&held, 900, vec![step("confirm", Some(wait(id)))])).await.unwrap();
    }
    let mut locked = store.pool.begin().await.unwrap();
    run_on(&mut locked, "SELECT * FROM cqrs_sagas WHERE id = 'a' FOR UPDATE").await.unwrap();
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
async fn texts_with_a_nul_come_back_as_they_were() {
    let (_schema, store) = fresh().await;
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

/// A plan that is kept was made while few events were there, and reads all of them once they are many.
#[tokio::test]
async fn who_tells_sagas_of_events_keeps_no_plan() {
    let (schema, _) = fresh().await;
    let store = schema.lent(1).await;
    for _ in 0..8 {
        store.tell(at(1)).await.unwrap();
        store.next_due(SagaNames::ALL).await.unwrap();
    }
    let kept = async |what: &str| -> i64 {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM pg_prepared_statements WHERE statement LIKE $1");
        count.bind(what).fetch_one(&store.pool).await.unwrap()
    };
    assert_eq!(kept("%WHERE NOT told%").await, 0);
    let wait = SagaWait { saga: "checkout".to_owned(), event: "paid".to_owned(), key: "x".to_owned() };
    for id in ["a", "b", "c", "d", "e", "f"] {
        let held = begin(&store, start(id)).await;
        store.save(parked(&held, 1, vec![step("confirm", Some(wait.clone()))])).await.unwrap();
        assert_eq!(ids_due(&store, 2).await, [id]);
    }
    assert_eq!(kept("%AS first%").await, 0, "nor has who looks for the first of many");
    assert_eq!(kept("%SELECT due_at FROM%").await, 1, "as others are");
}

/// Whoever is handed a saga need not ask for what has come. A row that cannot be read, or is large, holds up nobody's claim.
#[tokio::test]
async fn a_claim_brings_the_events_that_its_sagas_wait_for() {
    let (_schema, store) = fresh().await;
    let wait = |key: &str| SagaWait { saga: "checkout".to_owned(), event: "paid".to_owned(), key: key.to_owned() };
    for (id, key) in [("a", "x"), ("b", "x\0"), ("c", "x"), ("d", "broken"), ("e", "nobody's"), ("f", "large")] {
        let held = begin(&store, start(id)).await;
        let steps = vec![
            step("confirm", Some(wait(key))),
            SagaStep { progress: SagaProgress::Done, ..step("before", Some(wait("past"))) },
        ];
        assert_eq!(store.save(parked(&held, 1, steps)).await.unwrap(), SagaSaved::Stored(None));
    }
    let mut tx = store.begin().await.unwrap();
    let mut kept = Vec::new();
    for key in ["past", "x", "broken", "x\0", "x", "broken", "large", "large"] {
        let event = AwaitedEvent {
            id: Uuid::now_v7(),
            wait: wait(key),
            version: 1,
            payload: if key == "large" && kept.len() == 6 { vec![b' '; 16 * 1024 + 1] } else { b"{}".to_vec() },
            headers: BTreeMap::new(),
            at: at(1),
        };
        tx.keep_awaited(event.clone(), at(1)).await.unwrap();
        kept.push(event);
    }
    tx.commit().await.unwrap();
    // The first of two: the one behind it is not taken in its place.
    let first = "UPDATE cqrs_saga_events SET headers = 'oops' WHERE seq = (SELECT min(seq) FROM cqrs_saga_events WHERE wait_key = 'broken')";
    run_sql(&store.pool, first).await;
    let claimed = store.claim(request("two", 2, 9), SagaNames::ALL).await.unwrap();
    let brought: Vec<_> = claimed.into_iter().map(|saga| (saga.row.id, saga.events)).collect();
    let first = |at: usize| vec![kept[at].clone()];
    let none = Vec::new;
    let expected = [("a", first(1)), ("b", first(3)), ("c", first(1)), ("d", none()), ("e", none()), ("f", none())];
    assert_eq!(brought, expected.map(|(id, events)| (id.to_owned(), events)));
}

#[tokio::test]
async fn a_saga_that_somebody_has_locked_keeps_no_other_from_being_stored_together() {
    let (_schema, store) = fresh().await;
    let mut changes = Vec::new();
    for id in ["a", "b", "c"] {
        changes.push(parked(&begin(&store, start(id)).await, 1, vec![step("confirm", None)]));
    }
    let mut locked = store.pool.begin().await.unwrap();
    run_on(&mut locked, "SELECT * FROM cqrs_sagas WHERE id = 'b' FOR UPDATE").await.unwrap();
    let saved = store.save_many(changes).await.unwrap();
    assert_eq!(saved, [Some(SagaSaved::Stored(None)), None, Some(SagaSaved::Stored(None))]);
    drop(locked);
    let mut due = ids_due(&store, 2).await;
    due.sort();
    assert_eq!(due, ["a", "c"]);
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM cqrs_saga_steps WHERE saga = 'b'").await, 0);
}

#[tokio::test]
async fn sagas_that_wait_for_whoever_has_them_locked_keep_no_other_from_being_stored_and_those_go_together() {
    let (_schema, store) = fresh().await;
    let mut changes = Vec::new();
    for number in 10..58 {
        changes.push(parked(&begin(&store, start(&number.to_string())).await, 1, Vec::new()));
    }
    // As many as take turns; with the one that locks them they leave a connection.
    let mut locked = store.pool.begin().await.unwrap();
    run_on(&mut locked, "SELECT * FROM cqrs_sagas WHERE id < '18' FOR UPDATE").await.unwrap();
    let pool = store.pool.clone();
    let (store, together): (Arc<dyn Driver>, _) = (Arc::new(store), Arc::new(Together::default()));
    let mut saving = Vec::new();
    for change in changes {
        let (store, together) = (Arc::clone(&store), Arc::clone(&together));
        saving.push(tokio::spawn(async move { together.save(&store, change).await.unwrap() }));
        tokio::task::yield_now().await;
    }
    for free in saving.split_off(8) {
        assert_eq!(free.await.unwrap(), SagaSaved::Stored(None));
    }
    assert!(saving.iter().all(|saving| !saving.is_finished()));
    // Forty; those that come when the first turns are overdue have turns of their own.
    let transactions = "SELECT COUNT(DISTINCT xmin::text) FROM cqrs_sagas WHERE id >= '18'";
    assert!((1..20).contains(&number(&pool, transactions).await), "each was stored by itself");
    drop(locked);
    for waiting in saving {
        assert_eq!(waiting.await.unwrap(), SagaSaved::Stored(None));
    }
}
