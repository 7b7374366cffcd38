//! Stored work where transactions run side by side.

use super::*;

async fn finish(store: &MySqlStore, claim: Claim) -> bool {
    let mut tx = store.begin().await.unwrap();
    let held = tx.finish_work(claim).await.unwrap();
    tx.commit().await.unwrap();
    held
}

async fn states(store: &MySqlStore) -> Vec<String> {
    sqlx::query_scalar("SELECT state FROM cqrs_work ORDER BY seq").fetch_all(&store.pool).await.unwrap()
}

fn of_lane(names: &[&str]) -> Vec<Record> {
    names.iter().map(|name| Record::Work(piece(WorkKind::Durable, name, Some("lane")))).collect()
}

#[tokio::test]
async fn nothing_is_parked_behind_a_row_that_is_on_its_way_out() {
    let (_place, store) = fresh().await;
    keep(&store, of_lane(&["first"])).await;
    let first = claim_work(&store, 1).await;
    // Finished, and not committed: whoever parks the next one now would not be seen by it.
    let mut finishing = store.begin().await.unwrap();
    assert!(finishing.finish_work(first[0].claim).await.unwrap());
    keep(&store, of_lane(&["second", "third"])).await;
    assert!(claim_work(&store, 1).await.is_empty());
    assert_eq!(states(&store).await, ["claimed", "ready", "ready"]);
    finishing.commit().await.unwrap();
    let second = claim_work(&store, 1).await;
    assert_eq!(work_names(&second), ["second"]);
    assert_eq!(states(&store).await, ["claimed", "parked"]);
    assert!(finish(&store, second[0].claim).await);
    assert_eq!(work_names(&claim_work(&store, 1).await), ["third"]);
}

#[tokio::test]
async fn work_that_is_finished_and_rolled_back_holds_its_lane_again() {
    let (_place, store) = fresh().await;
    keep(&store, of_lane(&["first", "second"])).await;
    let first = claim_work(&store, 1).await;
    assert_eq!(states(&store).await, ["claimed", "parked"]);
    let mut finishing = store.begin().await.unwrap();
    assert!(finishing.finish_work(first[0].claim).await.unwrap());
    finishing.rollback().await.unwrap();
    assert!(claim_work(&store, 2).await.is_empty());
    assert_eq!(states(&store).await, ["claimed", "parked"]);
    assert!(finish(&store, first[0].claim).await);
    assert_eq!(work_names(&claim_work(&store, 2).await), ["second"]);
}

#[tokio::test]
async fn a_lane_does_one_at_a_time_though_an_earlier_row_is_committed_late() {
    let (_place, store) = fresh().await;
    let mut late = store.begin().await.unwrap();
    late.store(of_lane(&["late"])).await.unwrap();
    keep(&store, of_lane(&["early", "last"])).await;
    let early = claim_work(&store, 1).await;
    assert_eq!(work_names(&early), ["early"]);
    late.commit().await.unwrap();
    assert!(claim_work(&store, 1).await.is_empty(), "`early` is being done");
    let queue = WorkQueue::durable("mail::send");
    assert_eq!(store.next_work_due(&[queue]).await.unwrap(), None, "whoever waited for `late` would turn in circles");
    assert!(finish(&store, early[0].claim).await);
    let next = claim_work(&store, 1).await;
    assert_eq!(work_names(&next), ["late"]);
    assert!(finish(&store, next[0].claim).await);
    assert_eq!(work_names(&claim_work(&store, 1).await), ["last"]);
}

/// While a row is locked by whoever ends it, its lease does not run out.
#[tokio::test]
async fn work_whose_unit_is_just_committing_is_not_taken_back() {
    let (_place, store) = fresh().await;
    keep(&store, [Record::Work(piece(WorkKind::Durable, "w", None))]).await;
    let claimed = claim_work(&store, 1).await;
    let mut finishing = store.begin().await.unwrap();
    assert!(finishing.finish_work(claimed[0].claim).await.unwrap());
    let look = tokio::time::timeout(Duration::from_secs(5), claim_work(&store, 100)).await;
    assert!(look.expect("nobody waits for it").is_empty());
    finishing.commit().await.unwrap();
    assert_eq!(store.counts().await.unwrap().work, 0);
}

#[tokio::test]
async fn two_units_that_store_the_same_timer_leave_one() {
    let (_place, store) = fresh().await;
    let mut one = store.begin().await.unwrap();
    let first = timer("remind", "7", at(60));
    let kept = first.id;
    assert_eq!(one.store(vec![Record::Work(first)]).await.unwrap(), [kept]);
    let mut two = store.begin().await.unwrap();
    let waiting = tokio::spawn(async move {
        let ids =
            two.store(vec![Record::Work(timer("remind", "7", at(90))), Record::Work(timer("remind", "8", at(50)))]);
        let ids = ids.await.unwrap();
        two.commit().await.unwrap();
        ids
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    one.commit().await.unwrap();
    let ids = waiting.await.unwrap();
    assert_eq!(ids[0], kept, "to whoever named it, it is the same timer");
    let timers = store.timers(9).await.unwrap();
    let found: Vec<_> = timers.iter().map(|timer| (timer.id, timer.key.as_deref(), timer.due_at)).collect();
    assert_eq!(found, [(ids[1], Some("8"), at(50)), (kept, Some("7"), at(90))]);
}

#[tokio::test]
async fn several_processes_do_the_work_of_every_lane_once_and_in_order() {
    let (place, store) = fresh().await;
    let pieces = (0..120).map(|n| Record::Work(piece(WorkKind::Durable, &n.to_string(), Some(&format!("l{}", n % 9)))));
    keep(&store, pieces).await;
    run_on(&store, "CREATE TABLE done (n BIGINT AUTO_INCREMENT PRIMARY KEY, seq BIGINT, lane VARCHAR(9))").await;
    let mut workers = Vec::new();
    for _ in 0..3 {
        let store = place.open().await;
        workers.push(tokio::spawn(async move {
            let mut empty = 0;
            while empty < 30 {
                let claimed = claim_work(&store, 1).await;
                empty = if claimed.is_empty() { empty + 1 } else { 0 };
                for work in &claimed {
                    let mut tx = store.begin().await.unwrap();
                    sqlx::query("INSERT INTO done (seq, lane) VALUES (?, ?)")
                        .bind(work.claim.seq)
                        .bind(work.record.lane.as_deref())
                        .execute(&mut **handle(&mut tx))
                        .await
                        .unwrap();
                    assert!(tx.finish_work(work.claim).await.unwrap());
                    tx.commit().await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(number(&store, "SELECT COUNT(DISTINCT seq) FROM done").await, 120);
    assert_eq!(number(&store, "SELECT COUNT(*) FROM done").await, 120);
    let swapped = "SELECT COUNT(*) FROM done a JOIN done b ON a.lane = b.lane AND a.n < b.n AND a.seq > b.seq";
    assert_eq!(number(&store, swapped).await, 0);
    assert_eq!(store.counts().await.unwrap().work, 0);
}

#[tokio::test]
async fn a_claim_of_work_lasts_from_when_it_was_granted() {
    let (place, _) = fresh().await;
    let store = place.lent(1).await;
    keep(&store, of_lane(&["w"])).await;
    let busy = store.pool.acquire().await.unwrap();
    let (claimed, ()) = tokio::join!(claim_work(&store, 1), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(busy);
    });
    assert_eq!(claimed.len(), 1);
    let until = number(&store, "SELECT lease_until FROM cqrs_work").await;
    let asked_for = super::super::rows::micros(at(1) + Duration::from_secs(5));
    assert!(until >= asked_for + 900_000, "a second went by before it was granted");
}

#[tokio::test]
async fn what_somebody_has_stranded_is_freed() {
    let (_place, store) = fresh().await;
    keep(&store, of_lane(&["1", "2"])).await;
    assert_eq!(claim_work(&store, 1).await.len(), 1);
    keep(&store, ["1", "2"].map(|name| Record::Outbox(message(name, Some("a"))))).await;
    let first = store.claim_outbox(request("one", 1, 1)).await.unwrap();
    let dead = OutboxOutcome::Dead { error: "too large".to_owned() };
    assert_eq!(store.settle_outbox(vec![(first[0].claim, dead)]).await.unwrap(), 1);
    assert!(claim(&store, "one", 1).await.is_empty());
    run_on(&store, "DELETE FROM cqrs_work WHERE state = 'claimed'; DELETE FROM cqrs_outbox WHERE state = 'dead'").await;
    assert!(claim(&store, "one", 2).await.is_empty() && claim_work(&store, 2).await.is_empty());
    assert_eq!(store.free_stranded().await.unwrap(), 2);
    assert_eq!((claim(&store, "one", 2).await.len(), claim_work(&store, 2).await.len()), (1, 1));
}

#[tokio::test]
async fn work_that_cannot_be_read_is_a_dead_letter_and_holds_up_its_lane_alone() {
    let (_place, store) = fresh().await;
    let rows = ["a1", "a2", "b1"].map(|name| Record::Work(piece(WorkKind::Durable, name, Some(&name[..1]))));
    keep(&store, rows).await;
    run_on(&store, "UPDATE cqrs_work SET headers = 'no JSON' WHERE name = 'a1'").await;
    assert_eq!(work_names(&claim_work(&store, 1).await), ["b1"]);
    assert!(claim_work(&store, 1).await.is_empty());
    let letters = store.dead_letters(9).await.unwrap();
    assert!(letters[0].error.starts_with("the row cannot be read"), "{letters:?}");
    assert_eq!(number(&store, "SELECT COUNT(*) FROM cqrs_work WHERE state = 'parked'").await, 1);
    assert!(store.discard(letters[0].id).await.unwrap());
    assert_eq!(work_names(&claim_work(&store, 1).await), ["a2"]);
}
