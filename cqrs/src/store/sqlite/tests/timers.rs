//! Timers: moved, cancelled, listed.

use super::*;

#[tokio::test]
async fn the_same_name_and_key_moves_a_timer() {
    let (_dir, store) = fresh().await;
    let first = timer("remind", "7", at(60));
    keep_work(&store, [first.clone(), timer("remind", "8", at(90)), timer("other", "7", at(70))]).await;
    let moved = WorkRecord { payload: vec![9], ..timer("remind", "7", at(120)) };
    keep_work(&store, [moved.clone()]).await;
    let timers = store.timers(9).await.unwrap();
    let names: Vec<_> = timers.iter().map(|timer| (timer.name.as_str(), timer.key.as_deref(), timer.due_at)).collect();
    let expected = [("other", Some("7"), at(70)), ("remind", Some("8"), at(90)), ("remind", Some("7"), at(120))];
    assert_eq!(names, expected);
    assert_eq!(timers[2].id, first.id, "it is the same timer");
    assert_eq!(store.counts().await.unwrap().timers, 3);
    assert_eq!(next_due(&store).await, Some(at(70)));
    let claimed = claim_work(&store, 120).await;
    assert_eq!(claimed[2].record.payload, moved.payload, "the later command is the one that runs");
}

#[tokio::test]
async fn storing_says_under_which_id_each_record_is_stored() {
    let (_dir, store) = fresh().await;
    let first = timer("remind", "7", at(60));
    keep_work(&store, [first.clone()]).await;
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

#[tokio::test]
async fn within_one_unit_the_last_one_counts() {
    let (_dir, store) = fresh().await;
    let keyless = WorkRecord { timer_key: None, ..timer("remind", "", at(50)) };
    keep_work(&store, [timer("remind", "7", at(60)), keyless.clone(), keyless, timer("remind", "7", at(40))]).await;
    let due: Vec<_> = store.timers(9).await.unwrap().iter().map(|timer| timer.due_at).collect();
    assert_eq!(due, [at(40), at(50), at(50)], "timers without a key are never the same");
    assert_eq!(store.timers(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_timer_fires_when_it_is_due() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [timer("remind", "7", at(60))]).await;
    assert!(claim_work(&store, 59).await.is_empty());
    let claimed = claim_work(&store, 60).await;
    assert_eq!(work_names(&claimed), ["remind"]);
    assert!(store.timers(9).await.unwrap().is_empty(), "it is being done");
}

#[tokio::test]
async fn a_timer_that_is_being_done_stays_beside_the_new_one() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [timer("remind", "7", at(1))]).await;
    let claimed = claim_work(&store, 1).await;
    // As a handler does that schedules its own next run.
    let mut tx = store.begin().await.unwrap();
    tx.store(vec![Record::Work(timer("remind", "7", at(60)))]).await.unwrap();
    assert!(tx.finish_work(claimed[0].claim).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.timers(9).await.unwrap().len(), 1);
    assert_eq!(work_names(&claim_work(&store, 60).await), ["remind"]);
}

#[tokio::test]
async fn a_timer_that_waits_for_its_retry_is_moved_too() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [timer("remind", "7", at(1))]).await;
    let claimed = claim_work(&store, 1).await;
    assert!(store.retry_work(claimed[0].claim, at(30), "away").await.unwrap());
    keep_work(&store, [timer("remind", "7", at(60))]).await;
    let timers = store.timers(9).await.unwrap();
    assert_eq!((timers.len(), timers[0].due_at), (1, at(60)));
    assert_eq!(claim_work(&store, 60).await[0].record.attempts, 0);
}

#[tokio::test]
async fn a_dead_timer_stays_a_dead_letter() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [timer("remind", "7", at(1))]).await;
    let claimed = claim_work(&store, 1).await;
    assert!(store.bury_work(claimed[0].claim, "never", false).await.unwrap());
    keep_work(&store, [timer("remind", "7", at(60))]).await;
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.timers, counts.work, counts.dead), (1, 1, 1));
    assert!(store.cancel_timer("remind", "7").await.unwrap());
    assert_eq!(store.counts().await.unwrap().dead, 1);
}

#[tokio::test]
async fn a_timer_is_cancelled_unless_it_is_being_done() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [timer("remind", "7", at(60)), timer("remind", "8", at(60))]).await;
    assert!(!store.cancel_timer("remind", "9").await.unwrap());
    assert!(!store.cancel_timer("other", "7").await.unwrap());
    assert!(store.cancel_timer("remind", "7").await.unwrap());
    assert!(!store.cancel_timer("remind", "7").await.unwrap());
    claim_work(&store, 60).await;
    assert!(!store.cancel_timer("remind", "8").await.unwrap());
    assert_eq!(store.counts().await.unwrap().timers, 1);
}

#[tokio::test]
async fn a_moved_timer_moves_with_its_unit_only() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [timer("remind", "7", at(60))]).await;
    let mut tx = store.begin().await.unwrap();
    tx.store(vec![Record::Work(timer("remind", "7", at(90)))]).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(store.timers(9).await.unwrap()[0].due_at, at(60));
}
