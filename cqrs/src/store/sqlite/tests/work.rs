//! Stored work: lanes, leases and fences, retries.

use super::*;

#[tokio::test]
async fn work_comes_back_as_it_was_stored() {
    let (_dir, store) = fresh().await;
    let stored = WorkRecord {
        group: "billing".to_owned(),
        topic: "orders".to_owned(),
        timer_key: Some("t".to_owned()),
        attempts: 2,
        error: Some("first".to_owned()),
        due_at: at(4),
        headers: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        ..piece(WorkKind::Consumed, "placed", Some("lane"))
    };
    keep_work(&store, [stored.clone()]).await;
    assert!(claim_work(&store, 3).await.is_empty());
    assert_eq!(next_due(&store).await, Some(at(4)));
    let claimed = claim_work(&store, 4).await;
    assert_eq!(claimed[0].record, stored);
    assert_eq!(claimed[0].claim.fence, 1);
}

#[tokio::test]
async fn a_group_gets_its_own_messages_only() {
    let (_dir, store) = fresh().await;
    let consumed = |name, group: &str| WorkRecord { group: group.to_owned(), ..piece(WorkKind::Consumed, name, None) };
    keep_work(&store, [consumed("a1", "a"), consumed("b1", "b"), consumed("a2", "a")]).await;
    let claimed = claim_of(&store, &[WorkQueue::consumed("a", HANDLER)], request("a", 1, 9)).await.unwrap();
    assert_eq!(work_names(&claimed), ["a1", "a2"]);
    let claimed = claim_of(&store, &[WorkQueue::consumed("b", HANDLER)], request("a", 1, 9)).await.unwrap();
    assert_eq!(work_names(&claimed), ["b1"]);
}

#[tokio::test]
async fn kinds_that_were_not_asked_for_stay() {
    let (_dir, store) = fresh().await;
    keep_work(&store, WorkKind::ALL.map(|kind| piece(kind, kind.as_str(), None))).await;
    let kinds = [WorkKind::Consumed, WorkKind::Durable].map(queue);
    let claimed = claim_of(&store, &kinds, request("a", 1, 9)).await.unwrap();
    assert_eq!(work_names(&claimed), ["durable", "consumed"]);
    assert_eq!(work_names(&claim_work(&store, 1).await), ["command", "timer"]);
}

#[tokio::test]
async fn the_limit_takes_the_oldest_of_all_kinds() {
    let (_dir, store) = fresh().await;
    let kinds = [WorkKind::Timer, WorkKind::Durable, WorkKind::Command, WorkKind::Durable];
    keep_work(&store, kinds.map(|kind| piece(kind, kind.as_str(), None))).await;
    let claimed = claim_of(&store, &everything(), request("a", 1, 3)).await.unwrap();
    assert_eq!(work_names(&claimed), ["timer", "durable", "command"]);
}

#[tokio::test]
async fn a_lane_gives_one_at_a_time_in_order() {
    let (_dir, store) = fresh().await;
    let rows = [("a1", Some("a")), ("a2", Some("a")), ("b1", Some("b")), ("n", None), ("a3", Some("a"))];
    keep_work(&store, rows.map(|(name, lane)| piece(WorkKind::Durable, name, lane))).await;
    let first = claim_work(&store, 1).await;
    assert_eq!(work_names(&first), ["a1", "b1", "n"]);
    assert!(claim_work(&store, 1).await.is_empty());
    assert!(finish(&store, first[0].claim).await);
    let second = claim_work(&store, 1).await;
    assert_eq!(work_names(&second), ["a2"]);
    assert!(store.retry_work(second[0].claim, at(30), "away").await.unwrap());
    assert!(claim_work(&store, 2).await.is_empty(), "`a3` waits for `a2`");
    let third = claim_of(&store, &[queue(WorkKind::Durable)], request("a", 30, 1)).await.unwrap();
    assert_eq!(work_names(&third), ["a2"]);
    assert_eq!(third[0].record.attempts, 1);
    assert_eq!(third[0].record.error.as_deref(), Some("away"));
}

#[tokio::test]
async fn later_work_of_a_lane_does_not_pass_earlier_work_that_waits() {
    let (_dir, store) = fresh().await;
    let first = WorkRecord { due_at: at(60), ..piece(WorkKind::Consumed, "a1", Some("a")) };
    keep_work(&store, [first, piece(WorkKind::Consumed, "a2", Some("a"))]).await;
    assert!(claim_work(&store, 1).await.is_empty());
    assert_eq!(next_due(&store).await, Some(at(60)), "not the row that may not be taken");
    assert_eq!(work_names(&claim_work(&store, 60).await), ["a1"]);
}

#[tokio::test]
async fn dead_work_parks_its_lane_unless_it_is_skipped() {
    let (_dir, store) = fresh().await;
    let rows = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")];
    keep_work(&store, rows.map(|(name, lane)| piece(WorkKind::Durable, name, Some(lane)))).await;
    let claimed = claim_work(&store, 1).await;
    assert!(store.bury_work(claimed[0].claim, "no such mailbox", false).await.unwrap());
    assert!(store.bury_work(claimed[1].claim, "no such mailbox", true).await.unwrap());
    assert_eq!(work_names(&claim_work(&store, 2).await), ["b2"]);
    let mut tx = store.begin().await.unwrap();
    assert!(tx.lane_is_held("a").await.unwrap());
    assert!(!tx.lane_is_held("c").await.unwrap());
    drop(tx);
    let letters = store.dead_letters(9).await.unwrap();
    assert_eq!(letters[0].error, "no such mailbox");
    assert_eq!(letters[0].attempts, 1);
    store.release("a").await.unwrap();
    store.discard(letters[0].id).await.unwrap();
    assert_eq!(work_names(&claim_work(&store, 2).await), ["a2", "b2"]);
}

#[tokio::test]
async fn work_can_be_stored_dead() {
    let (_dir, store) = fresh().await;
    let dead = WorkRecord {
        dead: true,
        attempts: 1,
        error: Some("cannot be decoded".to_owned()),
        ..piece(WorkKind::Consumed, "a1", Some("a"))
    };
    keep_work(&store, [dead, piece(WorkKind::Consumed, "a2", Some("a"))]).await;
    assert!(claim_work(&store, 1).await.is_empty());
    assert_eq!(next_due(&store).await, None);
    let letters = store.dead_letters(9).await.unwrap();
    assert_eq!((letters.len(), letters[0].attempts, letters[0].error.as_str()), (1, 1, "cannot be decoded"));
    assert_eq!(store.counts().await.unwrap().work, 1);
}

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
async fn a_claim_ends_once() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [piece(WorkKind::Durable, "a", None)]).await;
    let claim = claim_work(&store, 1).await[0].claim;
    assert!(store.retry_work(claim, at(1), "away").await.unwrap());
    assert!(!store.retry_work(claim, at(1), "away").await.unwrap());
    assert!(!finish(&store, claim).await, "the claim was given up");
    assert_eq!(claim_work(&store, 1).await[0].record.attempts, 1);
}

#[tokio::test]
async fn a_number_never_comes_back() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [piece(WorkKind::Durable, "a", None)]).await;
    let stale = claim_work(&store, 1).await[0].claim;
    assert!(finish(&store, stale).await);
    keep_work(&store, [piece(WorkKind::Durable, "b", None)]).await;
    assert_ne!(claim_work(&store, 1).await[0].claim.seq, stale.seq);
    assert!(!finish(&store, stale).await, "it would end another message");
}

#[tokio::test]
async fn what_an_owner_hands_back_was_not_attempted() {
    let (_dir, store) = fresh().await;
    keep_work(&store, ["a", "b"].map(|name| piece(WorkKind::Durable, name, None))).await;
    let stale = claim_of(&store, &everything(), request("one", 1, 1)).await.unwrap();
    claim_of(&store, &everything(), request("two", 1, 1)).await.unwrap();
    store.release("one").await.unwrap();
    assert!(!finish(&store, stale[0].claim).await);
    let again = claim_work(&store, 1).await;
    assert_eq!(work_names(&again), ["a"]);
    assert_eq!(again[0].record.attempts, 0);
}

#[tokio::test]
async fn finished_work_is_gone_only_with_the_unit() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [piece(WorkKind::Durable, "a", None)]).await;
    let claim = claim_work(&store, 1).await[0].claim;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.finish_work(claim).await.unwrap());
    drop(tx);
    assert_eq!(store.counts().await.unwrap().work, 1);
    assert!(finish(&store, claim).await);
    assert_eq!(store.counts().await.unwrap().work, 0);
}

#[tokio::test]
async fn work_that_cannot_be_read_does_not_hold_up_the_rest() {
    let (_dir, store) = fresh().await;
    keep_work(&store, ["bad", "good"].map(|name| piece(WorkKind::Durable, name, Some(name)))).await;
    sqlx::query("UPDATE cqrs_work SET version = -1 WHERE name = 'bad'").execute(&store.pool).await.unwrap();
    assert_eq!(work_names(&claim_work(&store, 1).await), ["good"]);
    assert!(store.dead_letters(9).await.unwrap()[0].error.contains("cannot be read"));
}

#[tokio::test]
async fn thousands_are_stored_and_claimed_in_one_go() {
    let (_dir, store) = fresh().await;
    keep_work(&store, (0..5_000).map(|n| piece(WorkKind::Durable, &n.to_string(), Some(&n.to_string())))).await;
    let claimed = claim_of(&store, &everything(), request("a", 1, 9_999)).await.unwrap();
    let expected: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
    assert_eq!(work_names(&claimed), expected);
    let claims: Vec<Claim> = claimed.iter().map(|work| work.claim).collect();
    assert_eq!(store.renew_work(claims, at(60)).await.unwrap().len(), 5_000);
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

#[tokio::test]
async fn work_of_a_handler_that_was_not_asked_for_stays_and_is_nobodys_alarm() {
    let (_dir, store) = fresh().await;
    let newer = WorkRecord { handler: "mail::newer".to_owned(), ..piece(WorkKind::Durable, "newer", None) };
    let billed = |handler: &str| WorkRecord {
        handler: handler.to_owned(),
        group: "billing".to_owned(),
        ..piece(WorkKind::Consumed, "billed", None)
    };
    let waits = WorkRecord { due_at: at(3), ..newer.clone() };
    keep_work(&store, [newer, billed("bill::newer"), waits]).await;
    assert_eq!(next_due(&store).await, None);
    assert!(claim_work(&store, 9).await.is_empty());
    let theirs = [WorkQueue::durable("mail::newer")];
    assert_eq!(store.next_work_due(&theirs).await.unwrap(), Some(at(0)));
    let claimed = claim_of(&store, &theirs, request("b", 9, 9)).await.unwrap();
    assert_eq!(work_names(&claimed), ["newer", "newer"]);
    // Nor is what ran out in another's hands taken back here.
    assert_eq!(next_due(&store).await, None);
    assert!(claim_work(&store, 60).await.is_empty());
    assert!(finish(&store, claimed[0].claim).await, "it was not taken back");
    // What somebody is busy with does not wait; when its claim has run out, it does.
    let billing = (WorkQueue::consumed("billing", "bill::newer"), 1);
    assert_eq!(store.work_by_queue(at(13)).await.unwrap(), std::slice::from_ref(&billing));
    let counted = store.work_by_queue(at(14)).await.unwrap();
    assert_eq!(counted, [billing, (WorkQueue::durable("mail::newer"), 1)]);
}

#[tokio::test]
async fn work_that_is_put_off_was_not_attempted_and_remembers_since_when() {
    let (_dir, store) = fresh().await;
    keep_work(&store, [piece(WorkKind::Durable, "a", None)]).await;
    for round in [1, 10, 20] {
        let claimed = claim_work(&store, round).await;
        let since = (round > 1).then(|| at(1));
        assert_eq!((claimed[0].record.attempts, claimed[0].deferred_since), (0, since));
        assert!(store.defer_work(claimed[0].claim, at(round), at(round + 5), "not here").await.unwrap());
        assert!(!store.defer_work(claimed[0].claim, at(round), at(round + 5), "not here").await.unwrap());
        assert_eq!(next_due(&store).await, Some(at(round + 5)));
    }
    let claimed = claim_work(&store, 30).await;
    assert_eq!(claimed[0].record.error.as_deref(), Some("not here"));
    assert!(store.retry_work(claimed[0].claim, at(30), "tried").await.unwrap());
    let claimed = claim_work(&store, 30).await;
    assert_eq!(claimed[0].deferred_since, None, "somebody could do it");
    assert!(store.defer_work(claimed[0].claim, at(31), at(31), "not here").await.unwrap());
    let claimed = claim_work(&store, 31).await;
    assert!(store.bury_work(claimed[0].claim, "given up", false).await.unwrap());
    let letter = store.dead_letters(1).await.unwrap()[0].id;
    assert!(store.replay(letter, at(40)).await.unwrap());
    assert_eq!(claim_work(&store, 40).await[0].deferred_since, None);
}

#[tokio::test]
async fn each_share_has_a_limit_of_its_own() {
    let (_dir, store) = fresh().await;
    let rows = (0..6).flat_map(|_| [WorkKind::Command, WorkKind::Durable, WorkKind::Timer]);
    keep_work(&store, rows.map(|kind| piece(kind, kind.as_str(), None))).await;
    let (commands, others) = ([queue(WorkKind::Command)], [queue(WorkKind::Durable), queue(WorkKind::Timer)]);
    let claim = async |first: usize, second: usize, limit| {
        let shares = [
            WorkShare { queues: &commands, limit: &move || first },
            WorkShare { queues: &others, limit: &move || second },
        ];
        store.claim_work(&shares, request("a", 1, limit)).await.unwrap()
    };
    let claimed = claim(1, 3, 9).await;
    assert_eq!(work_names(&claimed), ["command", "durable", "timer", "durable"]);
    let claimed = claim(0, 2, 9).await;
    assert_eq!(work_names(&claimed), ["timer", "durable"]);
    let claimed = claim(9, 9, 3).await;
    assert_eq!(work_names(&claimed), ["command", "command", "timer"], "the oldest, up to the limit of all");
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
