//! Timers: moved, cancelled, listed.

use super::bench::{
    Bench, at, claim_of, claim_work, finish, keep_work, message, next_due, queue, request, timer, work_names,
};
use crate::store::{Record, WorkKind, WorkRecord};

pub(super) async fn the_same_name_and_key_moves_a_timer(store: Bench) {
    let first = timer("remind", "7", at(60));
    keep_work(&*store, [first.clone(), timer("remind", "8", at(90)), timer("other", "7", at(70))]).await;
    let moved = WorkRecord { payload: vec![9], ..timer("remind", "7", at(120)) };
    keep_work(&*store, [moved.clone()]).await;
    let timers = store.timers(9).await.unwrap();
    let found: Vec<_> = timers.iter().map(|timer| (timer.name.as_str(), timer.key.as_deref(), timer.due_at)).collect();
    let expected = [("other", Some("7"), at(70)), ("remind", Some("8"), at(90)), ("remind", Some("7"), at(120))];
    assert_eq!(found, expected);
    assert_eq!(timers[2].id, first.id, "it is the same timer");
    assert_eq!(store.counts().await.unwrap().timers, 3);
    assert_eq!(next_due(&*store).await, Some(at(70)));
    let claimed = claim_work(&*store, 120).await;
    let moved_to = claimed.iter().find(|work| work.record.id == first.id).unwrap();
    assert_eq!(moved_to.record.payload, moved.payload, "the later command is the one that runs");
    assert_eq!(claimed.len(), 3, "once");
}

pub(super) async fn storing_says_under_which_id_each_record_is_stored(store: Bench) {
    let first = timer("remind", "7", at(60));
    keep_work(&*store, [first.clone()]).await;
    let (moved, again, new) =
        (timer("remind", "7", at(70)), timer("remind", "7", at(80)), timer("remind", "8", at(90)));
    let (event, newer) = (message("placed", None), timer("remind", "8", at(95)));
    let records = [&moved, &new].map(|record| Record::Work(record.clone())).into_iter();
    let records = records.chain([Record::Outbox(event.clone())]).chain([again, newer.clone()].map(Record::Work));
    let mut tx = store.begin().await.unwrap();
    let ids = tx.store(records.collect()).await.unwrap();
    tx.commit().await.unwrap();
    // Of one unit the last counts, which takes over the id of what was stored before, if anything was.
    assert_eq!(ids, [first.id, newer.id, event.id, first.id, newer.id]);
    let timers: Vec<_> = store.timers(9).await.unwrap().into_iter().map(|timer| (timer.id, timer.due_at)).collect();
    assert_eq!(timers, [(first.id, at(80)), (newer.id, at(95))]);
}

pub(super) async fn a_timer_stored_twice_in_a_unit_is_one(store: Bench) {
    let (first, second) = (timer("remind", "7", at(60)), timer("remind", "7", at(90)));
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.store(vec![Record::Work(first.clone())]).await.unwrap(), [first.id]);
    tx.savepoint().await.unwrap();
    assert_eq!(tx.store(vec![Record::Work(timer("remind", "7", at(30)))]).await.unwrap(), [first.id]);
    tx.rollback_to_savepoint().await.unwrap();
    assert_eq!(tx.store(vec![Record::Work(second)]).await.unwrap(), [first.id]);
    tx.commit().await.unwrap();
    let timers: Vec<_> = store.timers(9).await.unwrap().into_iter().map(|timer| (timer.id, timer.due_at)).collect();
    assert_eq!(timers, [(first.id, at(90))]);
}

pub(super) async fn of_one_key_the_last_counts_and_none_without_a_key(store: Bench) {
    let keyless = WorkRecord { timer_key: None, ..timer("remind", "", at(50)) };
    let again = WorkRecord { id: uuid::Uuid::now_v7(), ..keyless.clone() };
    keep_work(&*store, [timer("remind", "7", at(60)), keyless, again, timer("remind", "7", at(40))]).await;
    let due: Vec<_> = store.timers(9).await.unwrap().iter().map(|timer| timer.due_at).collect();
    assert_eq!(due, [at(40), at(50), at(50)], "timers without a key are never the same");
    assert_eq!(store.timers(1).await.unwrap().len(), 1);
    assert!(store.timers(0).await.unwrap().is_empty());
}

pub(super) async fn a_timer_fires_when_it_is_due(store: Bench) {
    keep_work(&*store, [timer("remind", "7", at(60))]).await;
    assert!(claim_work(&*store, 59).await.is_empty());
    let claimed = claim_work(&*store, 60).await;
    assert_eq!(work_names(&claimed), ["remind"]);
    assert!(store.timers(9).await.unwrap().is_empty(), "it is being done");
}

pub(super) async fn overdue_timers_are_given_in_the_order_of_their_time(store: Bench) {
    // More than a store may wake at once; stored in an order that has nothing to do with their times.
    let seconds = (0..1_201).map(|n| 1 + n * 523 % 1_201);
    keep_work(&*store, seconds.map(|due| timer("remind", &due.to_string(), at(due)))).await;
    let (timers, mut given) = ([queue(WorkKind::Timer)], Vec::new());
    for limit in [1, 8, 300, 200, 8, 2_000] {
        let claimed = claim_of(&*store, &timers, request("a", 5_000, limit)).await.unwrap();
        given.extend(claimed.into_iter().map(|work| work.record.due_at));
    }
    let expected: Vec<_> = (1..=1_201).map(at).collect();
    assert_eq!(given, expected, "each once, and the most overdue first");
}

pub(super) async fn a_timer_that_is_being_done_stays_beside_the_new_one(store: Bench) {
    keep_work(&*store, [timer("remind", "7", at(1))]).await;
    let claimed = claim_work(&*store, 1).await;
    // As a handler does that schedules its own next run.
    let mut tx = store.begin().await.unwrap();
    tx.store(vec![Record::Work(timer("remind", "7", at(60)))]).await.unwrap();
    assert!(tx.finish_work(claimed[0].claim).await.unwrap(), "it was not replaced");
    tx.commit().await.unwrap();
    assert_eq!(store.timers(9).await.unwrap().len(), 1);
    assert_eq!(work_names(&claim_work(&*store, 60).await), ["remind"]);
}

pub(super) async fn a_timer_that_waits_for_its_retry_is_moved_too(store: Bench) {
    keep_work(&*store, [timer("remind", "7", at(1))]).await;
    let claimed = claim_work(&*store, 1).await;
    assert!(store.retry_work(claimed[0].claim, at(30), "away").await.unwrap());
    keep_work(&*store, [timer("remind", "7", at(60))]).await;
    let timers = store.timers(9).await.unwrap();
    assert_eq!((timers.len(), timers[0].due_at), (1, at(60)));
    assert_eq!(claim_work(&*store, 60).await[0].record.attempts, 0);
}

pub(super) async fn a_dead_timer_stays_a_dead_letter(store: Bench) {
    keep_work(&*store, [timer("remind", "7", at(1))]).await;
    let claimed = claim_work(&*store, 1).await;
    assert!(store.bury_work(claimed[0].claim, "never", false).await.unwrap());
    keep_work(&*store, [timer("remind", "7", at(60))]).await;
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.timers, counts.work, counts.dead), (1, 1, 1));
    assert!(store.cancel_timer("remind", "7").await.unwrap());
    assert_eq!(store.counts().await.unwrap().dead, 1);
}

pub(super) async fn a_timer_is_cancelled_unless_it_is_being_done(store: Bench) {
    keep_work(&*store, [timer("remind", "7", at(60)), timer("remind", "8", at(60))]).await;
    assert!(!store.cancel_timer("remind", "9").await.unwrap());
    assert!(!store.cancel_timer("other", "7").await.unwrap());
    assert!(store.cancel_timer("remind", "7").await.unwrap());
    assert!(!store.cancel_timer("remind", "7").await.unwrap());
    let claimed = claim_work(&*store, 60).await;
    assert_eq!(claimed.len(), 1, "the other one was cancelled");
    assert!(!store.cancel_timer("remind", "8").await.unwrap());
    assert_eq!(store.counts().await.unwrap().timers, 1);
    assert!(finish(&*store, claimed[0].claim).await);
}

pub(super) async fn a_timer_moves_with_its_unit_only(store: Bench) {
    keep_work(&*store, [timer("remind", "7", at(60))]).await;
    let mut tx = store.begin().await.unwrap();
    tx.store(vec![Record::Work(timer("remind", "7", at(90)))]).await.unwrap();
    assert_eq!(store.timers(9).await.unwrap()[0].due_at, at(60));
    tx.rollback().await.unwrap();
    assert_eq!(store.timers(9).await.unwrap()[0].due_at, at(60));
    assert_eq!(work_names(&claim_work(&*store, 60).await), ["remind"]);
}

pub(super) async fn names_and_keys_of_timers_are_told_apart_byte_by_byte(store: Bench) {
    let keys = ["k", "K", "k ", "ä", "a"];
    keep_work(&*store, keys.map(|key| timer("remind", key, at(60)))).await;
    assert_eq!(store.timers(9).await.unwrap().len(), keys.len());
    assert!(!store.cancel_timer("Remind", "k").await.unwrap());
    assert!(store.cancel_timer("remind", "K").await.unwrap());
    assert_eq!(store.timers(9).await.unwrap().len(), keys.len() - 1);
}
