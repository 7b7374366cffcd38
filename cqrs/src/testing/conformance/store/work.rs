//! Stored work: lanes, queues, leases and fences, retries.

use super::bench::{
    Bench, Table, Turns, at, claim_of, claim_work, finish, keep_work, piece, queue, request, work_names,
};
use crate::store::WorkKind;

pub(super) async fn a_lane_gives_one_at_a_time_in_order(store: Bench) {
    let rows = [("a1", Some("a")), ("a2", Some("a")), ("b1", Some("b")), ("n", None), ("a3", Some("a"))];
    keep_work(&*store, rows.map(|(name, lane)| piece(WorkKind::Durable, name, lane))).await;
    let first = claim_work(&*store, 1).await;
    assert_eq!(work_names(&first), ["a1", "b1", "n"]);
    assert!(claim_work(&*store, 1).await.is_empty());
    assert!(finish(&*store, first[0].claim).await);
    let second = claim_work(&*store, 1).await;
    assert_eq!(work_names(&second), ["a2"]);
    assert!(store.retry_work(second[0].claim, at(30), "away").await.unwrap());
    assert!(claim_work(&*store, 2).await.is_empty(), "`a3` waits for `a2`");
    for held in &first[1..] {
        assert!(finish(&*store, held.claim).await);
    }
    let third = claim_of(&*store, &[queue(WorkKind::Durable)], request("a", 30, 1)).await.unwrap();
    assert_eq!(work_names(&third), ["a2"]);
    assert_eq!(third[0].record.attempts, 1);
    assert_eq!(third[0].record.error.as_deref(), Some("away"));
}

pub(super) async fn a_stalled_owner_ends_nothing(store: Bench) {
    keep_work(&*store, [piece(WorkKind::Durable, "a", None)]).await;
    let stale = claim_work(&*store, 1).await[0].claim;
    let mut turns = Turns::new(&*store, Table::Work, 5);
    let taken = turns.gather(&["b"], 1).await;
    assert_eq!(taken[0].attempts, 1, "a message that kills its process is not tried for ever");
    assert!(!finish(&*store, stale).await, "finished by an owner that another one has followed");
    assert!(!store.retry_work(stale, at(9), "late").await.unwrap());
    assert!(!store.bury_work(stale, "late", false).await.unwrap());
    assert!(!store.defer_work(stale, at(9), at(9), "late").await.unwrap());
    assert_eq!(store.renew_work(vec![stale], at(600)).await.unwrap(), []);
    turns.end("a").await;
    assert!(!finish(&*store, taken[0].claim).await, "it is done");
}
