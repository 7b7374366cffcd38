//! Sagas: owners that are late, and rows that cannot be read.

use std::sync::Arc;

use super::*;
use crate::saga::Together;
use crate::store::{SagaChange, SagaClaim, SagaNames, SagaPhase, SagaRest, SagaSaved, SagaStart, SagaStarted, Sagas};

async fn begin(store: &SqliteStore, id: &str) -> SagaClaim {
    let start = SagaStart {
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
    };
    match store.start(start).await.unwrap() {
        SagaStarted::New(claim) => claim,
        known @ SagaStarted::Known { .. } => panic!("{known:?}"),
    }
}

fn parked(claim: &SagaClaim, seconds: u64) -> SagaChange {
    SagaChange::new(claim.clone(), SagaPhase::Forward, at(0), SagaRest::Until(at(seconds)))
}

#[tokio::test]
async fn an_owner_that_renews_late_keeps_its_saga() {
    let (dir, store) = fresh().await;
    let other = dir.open().await;
    let held = begin(&store, "s").await;
    assert!(
        other.claim(request("two", 6, 9), SagaNames::ALL).await.unwrap().is_empty(),
        "it is doubted, and not taken"
    );
    let renewed = store.renew(vec![held.clone()], at(6) + LEASE).await.unwrap();
    assert_eq!(renewed, [held]);
    assert!(other.claim(request("two", 9, 9), SagaNames::ALL).await.unwrap().is_empty());
    assert!(other.claim(request("two", 12, 9), SagaNames::ALL).await.unwrap().is_empty(), "it is doubted anew");
    let taken = other.claim(request("two", 15, 9), SagaNames::ALL).await.unwrap();
    assert!(taken.len() == 1 && taken[0].was_held, "{taken:?}");
}

#[tokio::test]
async fn a_saga_that_cannot_be_read_is_stuck_and_holds_up_no_other() {
    let (_dir, store) = fresh().await;
    for id in ["a", "b", "c"] {
        let held = begin(&store, id).await;
        assert_eq!(store.save(parked(&held, 1)).await.unwrap(), SagaSaved::Stored(None));
    }
    sqlx::query("UPDATE cqrs_sagas SET headers = 'oops' WHERE id = 'a'").execute(&store.pool).await.unwrap();
    sqlx::query(
        "INSERT INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt) VALUES ('b', 's', 'dancing', 1, 0)",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    let taken = store.claim(request("two", 2, 9), SagaNames::ALL).await.unwrap();
    assert_eq!(taken.iter().map(|saga| saga.row.id.as_str()).collect::<Vec<_>>(), ["c"]);
    let stuck = "SELECT COUNT(*) FROM cqrs_sagas WHERE phase = 'stuck' AND owner IS NULL AND due_at IS NULL \
                 AND error LIKE 'the row cannot be read: %'";
    assert_eq!(number(&store.pool, stuck).await, 2);
    assert_eq!(store.next_due(SagaNames::ALL).await.unwrap(), None);
}

#[tokio::test]
async fn of_changes_that_have_to_wait_each_is_told_what_became_of_its_own() {
    let (_dir, store) = fresh().await;
    let mut changes = Vec::new();
    for number in 0..40 {
        changes.push(parked(&begin(&store, &format!("s-{number:02}")).await, 1));
    }
    // Somebody else has it by now.
    changes[20].claim.fence += 1;
    let (store, together): (Arc<dyn Driver>, _) = (Arc::new(store), Arc::new(Together::default()));
    // The only connection that writes: whoever comes meanwhile waits.
    let writing = store.begin().await.unwrap();
    let mut saving = Vec::new();
    for change in changes {
        let (store, together) = (Arc::clone(&store), Arc::clone(&together));
        saving.push(tokio::spawn(async move { together.save(&store, change).await }));
        tokio::task::yield_now().await;
    }
    // Of those that wait one stops waiting, and then of those that are under way another.
    for stopped in [30, 1] {
        saving[stopped].abort();
        tokio::task::yield_now().await;
    }
    writing.rollback().await.unwrap();
    for (number, saving) in saving.into_iter().enumerate() {
        match (number, saving.await) {
            (1 | 30, ended) => assert!(ended.unwrap_err().is_cancelled()),
            (20, saved) => assert_eq!(saved.unwrap().unwrap(), SagaSaved::Lost),
            (_, saved) => assert_eq!(saved.unwrap().unwrap(), SagaSaved::Stored(None), "{number}"),
        }
    }
    let due = store.sagas().unwrap().claim(request("two", 2, 99), SagaNames::ALL).await.unwrap();
    assert_eq!(due.len(), 37, "all but those that were lost or given up");
}
