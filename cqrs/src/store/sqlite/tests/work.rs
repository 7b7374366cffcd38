//! Stored work: lanes, leases and fences, retries.

use super::*;

#[tokio::test]
async fn a_stalled_owner_ends_nothing() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [piece(WorkKind::Durable, "a", None)]).await;
    let stale = claim_work(&store, 1).await[0].claim;
    assert!(claim_of(&store, &everything(), request("b", 6, 9)).await.unwrap().is_empty(), "it is doubted first");
    let current = claim_of(&store, &everything(), request("b", 8, 9)).await.unwrap();
    assert_eq!(current[0].record.attempts, 1, "a message that kills its process is not tried for ever");
    assert!(current[0].record.error.as_deref().unwrap().contains("lease"));
    assert!(!finish(&store, stale).await);
    assert!(!store.retry_work(stale, at(9), "late").await.unwrap());
    assert!(!store.bury_work(stale, "late", false).await.unwrap());
    assert_eq!(store.renew_work(vec![stale], at(60)).await.unwrap(), []);
    assert_eq!(store.renew_work(vec![current[0].claim], at(60)).await.unwrap(), [current[0].claim]);
    assert!(claim_work(&store, 59).await.is_empty());
    assert!(finish(&store, current[0].claim).await);
    assert!(!finish(&store, current[0].claim).await);
}

/// The lease ran out while somebody wrote for long, and nobody could renew it: whoever looks next gives its owner a chance.
#[tokio::test]
async fn an_owner_that_renews_late_keeps_its_work_and_its_attempts() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [piece(WorkKind::Durable, "a", None)]).await;
    let claim = claim_work(&store, 1).await[0].claim;
    // Whoever looks: another process, or the owner itself, which is as blind to its own work.
    for (owner, seconds) in [("b", 20), ("a", 40), ("b", 60)] {
        assert!(claim_of(&store, &everything(), request(owner, seconds, 9)).await.unwrap().is_empty(), "{seconds}");
        assert!(claim_of(&store, &everything(), request(owner, seconds + 1, 9)).await.unwrap().is_empty());
        assert_eq!(store.renew_work(vec![claim], at(seconds + 6)).await.unwrap(), [claim]);
        assert!(claim_of(&store, &everything(), request(owner, seconds + 5, 9)).await.unwrap().is_empty());
    }
    assert!(finish(&store, claim).await);
}

/// Whoever looks had to wait for its turn as well: an owner is doubted from then on.
#[tokio::test]
async fn a_look_that_had_to_wait_leaves_an_owner_its_time() {
    let (dir, store) = fresh().await;
    keep_work(&store, [piece(WorkKind::Durable, "a", None)]).await;
    let claim = claim_work(&store, 1).await[0].claim;
    let other = dir.open().await;
    let writer = other.begin().await.unwrap();
    let (found, ()) = tokio::join!(claim_work(&store, 6), async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        drop(writer);
    });
    assert!(found.is_empty());
    // Two thirds of a second and the two and a half that it waited are left of the doubt.
    assert!(claim_work(&store, 7).await.is_empty() && claim_work(&store, 9).await.is_empty());
    assert_eq!(store.renew_work(vec![claim], at(20)).await.unwrap(), [claim]);
}

/// Nobody renews it: it is doubted once, not again and again, and whoever looks every second has it within ten.
#[tokio::test]
async fn what_a_dead_process_held_is_taken_up_within_ten_seconds() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [piece(WorkKind::Durable, "a", None)]).await;
    claim_work(&store, 0).await;
    let mut taken = Vec::new();
    for seconds in 1..10 {
        for work in claim_of(&store, &everything(), request("b", seconds, 9)).await.unwrap() {
            taken.push((seconds, work.record.attempts));
        }
    }
    assert_eq!(taken, [(7, 1)]);
}

#[tokio::test]
async fn work_that_cannot_be_read_does_not_hold_up_the_rest() {
    let (_dir, store) = fresh().await;
    keep_work(&store, ["bad", "good"].map(|name| piece(WorkKind::Durable, name, Some(name)))).await;
    sqlx::query("UPDATE cqrs_work SET version = -1 WHERE name = 'bad'").execute(&store.pool).await.unwrap();
    assert_eq!(work_names(&claim_work(&store, 1).await), ["good"]);
    assert!(store.dead_letters(9).await.unwrap()[0].error.contains("cannot be read"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_stores_on_one_file_keep_the_order_of_every_lane() {
    let (dir, store) = fresh().await;
    keep_work(&store, (0..120).map(|n| piece(WorkKind::Durable, &n.to_string(), Some(&(n % 6).to_string())))).await;
    sqlx::query("CREATE TABLE done (n INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER, lane TEXT)")
        .execute(&store.pool)
        .await
        .unwrap();
    let mut tasks = Vec::new();
    for name in ["one", "two"] {
        let store = dir.open().await;
        tasks.push(tokio::spawn(async move {
            while store.counts().await.unwrap().work > 0 {
                for work in claim_of(&store, &everything(), request(name, 1, 3)).await.unwrap() {
                    let mut tx = store.begin().await.unwrap();
                    sqlx::query("INSERT INTO done (seq, lane) VALUES (?, ?)")
                        .bind(work.claim.seq)
                        .bind(work.record.lane)
                        .execute(&mut **handle(&mut tx))
                        .await
                        .unwrap();
                    assert!(tx.finish_work(work.claim).await.unwrap());
                    tx.commit().await.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(number(&store.pool, "SELECT COUNT(DISTINCT seq) FROM done").await, 120);
    let swapped = "SELECT COUNT(*) FROM done a JOIN done b ON a.lane = b.lane AND a.n < b.n AND a.seq > b.seq";
    assert_eq!(number(&store.pool, swapped).await, 0);
}

/// What it is to be done with is held by nobody while the claim waits for its turn to write, or finds nothing.
#[tokio::test]
async fn how_much_there_is_room_for_is_asked_under_the_write_lock() {
    let (dir, store) = fresh().await;
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let everything = everything();
    let limit = || {
        asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        9
    };
    let times = || asked.load(std::sync::atomic::Ordering::SeqCst);
    let shares = [WorkShare { queues: &everything, limit: &limit }];
    assert!(store.claim_work(&shares, request("a", 1, 9)).await.unwrap().is_empty());
    assert_eq!(times(), 0, "there is nothing");

    keep_work(&store, [piece(WorkKind::Durable, "a", None)]).await;
    let other = dir.open().await;
    let writer = other.begin().await.unwrap();
    let (claimed, before) = tokio::join!(store.claim_work(&shares, request("a", 1, 9)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(writer);
        times()
    });
    assert_eq!((before, work_names(&claimed.unwrap()), times()), (0, vec!["a"], 1));
}

#[tokio::test]
async fn what_is_due_is_woken_a_thousand_at_a_time() {
    let (_dir, store) = fresh().await;
    keep_work(
        &store,
        (0..1_200).map(|n| WorkRecord { due_at: at(2), ..piece(WorkKind::Durable, &n.to_string(), None) }),
    )
    .await;
    let claimed = claim_of(&store, &everything(), request("a", 5, 1)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let waiting = "SELECT COUNT(*) FROM cqrs_work WHERE state = 'waiting'";
    assert_eq!(number(&store.pool, waiting).await, 200, "a claim keeps no writer waiting for longer than that");
    assert_eq!(claim_of(&store, &everything(), request("a", 5, 2_000)).await.unwrap().len(), 1_199);
}
