//! Names and keys are told apart byte by byte, and may be long.

use super::*;
use crate::store::driver::IdempotentRequest;
use crate::store::{IdempotentClaim, IdempotentOutcome, InboxMark};

/// What text collations of the servers take for the same: case, accents, trailing blanks, full width.
const ALIKE: [&str; 8] = ["key", "KEY", "kéy", "key ", "key  ", "key\0", "ｋｅｙ", "ke\u{301}y"];

#[tokio::test]
async fn keys_that_look_alike_are_not_the_same() {
    let (_place, store) = fresh().await;
    for key in ALIKE {
        let claim = IdempotentClaim { name: "pay".to_owned(), key: key.to_owned(), token: Uuid::new_v4() };
        let request = IdempotentRequest {
            claim,
            payload: [1; 32],
            lease_now: at(0),
            lease_until: at(5),
            kept_since: at(0) - Duration::from_secs(9),
        };
        let first = store.claim_idempotent(request.clone()).await.unwrap();
        assert_eq!(first, IdempotentOutcome::Claimed, "{key:?}");
        assert_eq!(store.claim_idempotent(request).await.unwrap(), IdempotentOutcome::Running, "{key:?}");
    }
    let event_id = Uuid::now_v7();
    let mark = |handler: &str| InboxMark { group: "g".to_owned(), handler: handler.to_owned(), event_id, at: at(0) };
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.mark_handled(ALIKE.map(mark).to_vec()).await.unwrap(), [true; 8]);
    tx.store(ALIKE.map(|key| Record::Work(timer("remind", key, at(60)))).to_vec()).await.unwrap();
    tx.store(ALIKE.map(|key| Record::Work(piece(WorkKind::Durable, key, Some(key)))).to_vec()).await.unwrap();
    tx.store(ALIKE.map(|key| Record::Outbox(message(key, Some(key)))).to_vec()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.timers(99).await.unwrap().len(), 8);
    assert!(store.cancel_timer("remind", "key ").await.unwrap());
    assert_eq!(store.timers(99).await.unwrap().len(), 7);
    assert_eq!(work_names(&claim_work(&store, 1).await), ALIKE, "lanes of their own");
    let claimed = claim(&store, "one", 1).await;
    assert_eq!(names(&claimed), ALIKE);
    let dead = OutboxOutcome::Dead { error: "no".to_owned() };
    store.settle_outbox(vec![(claimed[0].claim, dead)]).await.unwrap();
    store.settle_outbox(published(&claimed[1..])).await.unwrap();
    keep(&store, ALIKE.map(|key| Record::Outbox(message(key, Some(key))))).await;
    assert_eq!(names(&claim(&store, "one", 2).await), ALIKE[1..], "a dead one holds back its own key");
}

#[tokio::test]
async fn keys_names_and_headers_of_any_length_come_back_whole() {
    let (_place, store) = fresh().await;
    let long = "ä".repeat(40_000);
    let mut event = message(&"n".repeat(300), Some(&long));
    event.headers.insert("h".to_owned(), long.clone());
    let mut work = piece(WorkKind::Durable, "w", Some(&long));
    work.error = Some(long.clone());
    let reminder = timer("t", &long, at(60));
    let lane = format!("{long}x");
    let other = piece(WorkKind::Durable, "other lane", Some(&lane));
    keep(
        &store,
        [Record::Outbox(event.clone()), Record::Work(work.clone()), Record::Work(reminder), Record::Work(other)],
    )
    .await;
    assert_eq!(claim(&store, "one", 1).await[0].record, event);
    let claimed = claim_work(&store, 1).await;
    assert_eq!(claimed[0].record, work);
    assert_eq!(claimed.len(), 2, "one of each lane");
    assert!(store.cancel_timer("t", &long).await.unwrap());
}

#[tokio::test]
async fn messages_larger_than_a_statement_may_be_go_in_several() {
    let (_place, store) = fresh().await;
    let large = |n: u8| OutboxRecord { payload: vec![n; 3_000_000], ..message(&n.to_string(), None) };
    keep(&store, (0..9).map(|n| Record::Outbox(large(n)))).await;
    let claimed = claim(&store, "one", 1).await;
    assert_eq!(claimed.iter().map(|row| row.record.payload.len()).sum::<usize>(), 27_000_000);
    // One that is larger than the server takes fails its unit, and nobody else's.
    let mut tx = store.begin().await.unwrap();
    let too_large = OutboxRecord { payload: vec![0; 17_000_000], ..message("too large", None) };
    assert!(tx.store(vec![Record::Outbox(too_large)]).await.is_err());
    assert!(tx.commit().await.is_err());
    assert_eq!(store.counts().await.unwrap().outbox, 9);
}
