//! The outbox where transactions run side by side and processes share it.

use super::*;

async fn settle(store: &MySqlStore, claimed: &[ClaimedOutbox]) -> u64 {
    store.settle_outbox(published(claimed)).await.unwrap()
}

#[tokio::test]
async fn a_row_that_is_committed_late_is_found_though_later_ones_went_before() {
    let (_place, store) = fresh().await;
    let mut late = store.begin().await.unwrap();
    late.store(vec![Record::Outbox(message("late", Some("a"))), Record::Outbox(message("late b", Some("b")))])
        .await
        .unwrap();
    keep(&store, (0..150).map(|n| Record::Outbox(message(&n.to_string(), Some(&format!("k{n}")))))).await;
    let first = claim(&store, "one", 1).await;
    assert_eq!(first.len(), 100);
    assert_eq!(settle(&store, &first[..60]).await, 60);
    late.commit().await.unwrap();
    let mut rest = Vec::new();
    for _ in 0..4 {
        rest.extend(claim(&store, "one", 1).await);
    }
    assert_eq!(rest.len(), 52, "fifty that are left, and the two that came late: {:?}", names(&rest));
    for name in ["late", "late b"] {
        assert!(names(&rest).contains(&name), "{name}");
    }
    assert_eq!(settle(&store, &rest).await, 52);
    assert_eq!(settle(&store, &first[60..]).await, 40);
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

/// Whichever of its statements fails. Nobody has heard of what it found, so later rows of those keys must not go before it.
#[tokio::test]
async fn g10_a_claim_that_fails_at_any_statement_is_as_if_it_had_not_been() {
    for statements in 0.. {
        let (place, store) = fresh().await;
        keep(&store, ["a", "b"].map(|key| Record::Outbox(message(key, Some(key))))).await;
        let (failing, left) = place.failing().await;
        left.store(statements, Ordering::Relaxed);
        let ended = failing.claim_outbox(request("one", 1, 100)).await;
        left.store(i64::MAX, Ordering::Relaxed);
        if ended.is_ok() {
            assert!(statements > 3, "a first claim has several: {statements}");
            return;
        }
        keep(&store, [Record::Outbox(message("after a", Some("a")))]).await;
        assert_eq!(names(&claim(&failing, "one", 1).await), ["a", "b", "after a"], "after {statements} statements");
    }
}

#[tokio::test]
async fn a_row_that_is_committed_late_wakes_nobody_in_vain_and_is_due() {
    let (_place, store) = fresh().await;
    let mut late = store.begin().await.unwrap();
    late.store(vec![Record::Outbox(message("late", Some("a")))]).await.unwrap();
    keep(&store, [Record::Outbox(message("early", Some("b")))]).await;
    let early = claim(&store, "one", 1).await;
    assert_eq!(names(&early), ["early"]);
    assert_eq!(store.next_outbox_due().await.unwrap(), None, "`early` is under way");
    late.commit().await.unwrap();
    assert_eq!(store.next_outbox_due().await.unwrap(), Some(at(0)));
    assert_eq!(names(&claim(&store, "one", 1).await), ["late"]);
}

#[tokio::test]
async fn what_waits_for_a_handlers_locks_keeps_no_claim_waiting() {
    let (_place, store) = fresh().await;
    keep(&store, ["a", "b"].map(|name| Record::Outbox(message(name, Some(name))))).await;
    // Somebody looks at the tables by hand, and leaves his transaction open.
    let mut hand = store.pool.begin().await.unwrap();
    sqlx::query("SELECT seq FROM cqrs_outbox WHERE name = 'a' FOR UPDATE").fetch_all(&mut *hand).await.unwrap();
    sqlx::query("SELECT shard FROM cqrs_instances JOIN cqrs_shards").fetch_all(&mut *hand).await.unwrap();
    let claimed = tokio::time::timeout(Duration::from_secs(5), claim(&store, "one", 1)).await;
    assert_eq!(names(&claimed.expect("a claim waits for nobody's locks")), ["a", "b"]);
}

/// The process stalls past its lease, with claims in its mind, and wakes up.
#[tokio::test]
async fn a_process_that_stalled_settles_nothing_of_what_others_have_taken() {
    let (place, one) = fresh().await;
    let two = place.open().await;
    keep(&one, (0..8).map(|n| Record::Outbox(message(&n.to_string(), Some(&n.to_string()))))).await;
    let stale = claim(&one, "one", 0).await;
    assert_eq!(stale.len(), 8);
    assert!(claim(&two, "two", 1).await.is_empty());
    let taken = claim(&two, "two", 10).await;
    assert_eq!(taken.len(), 8, "the lease has run out");
    assert_eq!(settle(&one, &stale[..4]).await, 0);
    let dead = OutboxOutcome::Dead { error: "no".to_owned() };
    assert_eq!(one.settle_outbox(vec![(stale[4].claim, dead)]).await.unwrap(), 0);
    let retry = OutboxOutcome::Retry { due: at(9), error: "no".to_owned() };
    assert_eq!(one.settle_outbox(vec![(stale[5].claim, retry)]).await.unwrap(), 0);
    assert_eq!(one.renew_outbox(stale.iter().map(|row| row.claim).collect(), at(60)).await.unwrap(), []);
    assert_eq!(settle(&two, &taken).await, 8, "all of them are its own");
    assert!(claim(&one, "one", 11).await.is_empty());
}

#[tokio::test]
async fn a_process_that_comes_gets_a_fair_share_and_one_that_goes_leaves_its_own() {
    let (place, one) = fresh().await;
    let two = place.open().await;
    assert!(claim(&one, "one", 0).await.is_empty());
    assert!(claim(&two, "two", 1).await.is_empty());
    assert!(claim(&one, "one", 3).await.is_empty());
    assert!(claim(&two, "two", 4).await.is_empty());
    keep(&one, (0..400).map(|n| Record::Outbox(message(&n.to_string(), Some(&n.to_string()))))).await;
    let mut shares = Vec::new();
    for (store, owner) in [(&one, "one"), (&two, "two")] {
        let mut given = Vec::new();
        for _ in 0..5 {
            given.extend(claim(store, owner, 4).await);
        }
        shares.push(given);
    }
    assert_eq!(shares[0].len() + shares[1].len(), 400);
    assert!(shares.iter().all(|share| share.len() > 100), "{} and {}", shares[0].len(), shares[1].len());
    assert_eq!(settle(&one, &shares[0]).await, shares[0].len() as u64);
    // Two goes, and hands back what it has not published: one has all of it at once, no attempt counted.
    two.release("two").await.unwrap();
    let mut rest = Vec::new();
    for _ in 0..5 {
        rest.extend(claim(&one, "one", 7).await);
    }
    assert_eq!(rest.len(), shares[1].len());
    assert!(rest.iter().all(|row| row.attempts == 0));
}

#[tokio::test]
async fn a_row_that_ends_its_processes_ends_as_a_dead_letter() {
    let (place, _) = fresh().await;
    let store = place.open().await;
    keep(&store, ["poison", "sound"].map(|name| Record::Outbox(message(name, Some("a"))))).await;
    let mut lost = 0;
    for round in 0..60 {
        // A new process each time, and it dies with what it was given.
        let store = place.open().await;
        let given = claim(&store, "one", round * 10).await;
        if names(&given) == ["sound"] {
            break;
        }
        lost += usize::from(!given.is_empty());
    }
    let dead = store.dead_letters(9).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].name, "poison");
    assert!(dead[0].error.contains("may be what ends the process"), "{}", dead[0].error);
    assert!((10..30).contains(&lost), "{lost}");
}

#[tokio::test]
async fn rows_stored_while_others_claim_and_settle_are_published_once_and_in_order() {
    let (place, store) = fresh().await;
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let url = place.url.clone();
            tokio::spawn(async move {
                let store = MySqlStore::connect(Store::url(url)).await.unwrap();
                for n in 0..60 {
                    let name = format!("{writer}:{n}");
                    keep(&store, [Record::Outbox(message(&name, Some(&format!("w{writer}"))))]).await;
                }
            })
        })
        .collect();
    let (mut published_names, mut empty) = (Vec::new(), 0);
    while empty < 20 {
        let claimed = claim(&store, "one", 1).await;
        empty =
            if claimed.is_empty() && writers.iter().all(tokio::task::JoinHandle::is_finished) { empty + 1 } else { 0 };
        published_names.extend(claimed.iter().map(|row| row.record.name.clone()));
        assert_eq!(settle(&store, &claimed).await, claimed.len() as u64);
    }
    for writer in 0..3 {
        let own: Vec<_> = published_names.iter().filter(|name| name.starts_with(&format!("{writer}:"))).collect();
        let expected: Vec<String> = (0..60).map(|n| format!("{writer}:{n}")).collect();
        assert!(own.iter().copied().eq(&expected), "{own:?}");
    }
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

#[tokio::test]
async fn a_claim_of_events_lasts_from_when_it_was_granted() {
    let (place, _) = fresh().await;
    let store = place.lent(1).await;
    keep(&store, [Record::Outbox(message("a", None))]).await;
    let busy = store.pool.acquire().await.unwrap();
    let (claimed, ()) = tokio::join!(claim(&store, "one", 1), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(busy);
    });
    assert_eq!(names(&claimed), ["a"]);
    let late = at(6) + Duration::from_millis(500);
    let look = ClaimRequest { lease_now: late, lease_until: late + Duration::from_secs(5), ..request("two", 6, 9) };
    assert!(store.claim_outbox(look).await.unwrap().is_empty(), "it was granted a second after it was asked for");
}

/// The database is away just when a claim of this process has run out.
#[tokio::test]
async fn what_ran_out_is_given_out_only_when_its_fence_has_moved() {
    let (_place, store) = fresh().await;
    keep(&store, [Record::Outbox(message("a", Some("a")))]).await;
    let stale = claim(&store, "one", 1).await;
    assert_eq!(stale.len(), 1);
    run_on(&store, "RENAME TABLE cqrs_shards TO away").await;
    assert!(store.claim_outbox(request("two", 12, 9)).await.is_err());
    run_on(&store, "RENAME TABLE away TO cqrs_shards").await;
    let again = claim(&store, "two", 12).await;
    assert_eq!((again.len(), again[0].attempts), (1, 1), "a claim that ran out is an attempt");
    assert_eq!(settle(&store, &stale).await, 0, "its owner has been followed");
    assert_eq!(settle(&store, &again).await, 1);
}

/// When the broker goes away, thousands of rows are put off at once.
#[tokio::test]
async fn rows_that_are_not_published_are_settled_together() {
    let (place, _) = fresh().await;
    let store = place.lent(1).await;
    keep(&store, (0..90).map(|n| Record::Outbox(message(&n.to_string(), None)))).await;
    let all = claim(&store, "one", 1).await;
    let outcome = |n: usize| match n % 3 {
        0 => OutboxOutcome::Retry { due: at(2), error: "broker away".to_owned() },
        1 => OutboxOutcome::Retry { due: at(3 + n as u64), error: "broker away".to_owned() },
        _ => OutboxOutcome::Dead { error: "too large".to_owned() },
    };
    let outcomes = all.iter().enumerate().map(|(n, row)| (row.claim, outcome(n))).collect();
    let before = asked(&store, "Com_update").await;
    assert_eq!(store.settle_outbox(outcomes).await.unwrap(), 90);
    let updates = asked(&store, "Com_update").await - before;
    assert!(updates < 6, "{updates} statements");
    assert_eq!(number(&store, "SELECT CAST(SUM(attempts) AS SIGNED) FROM cqrs_outbox").await, 90);
    assert_eq!(number(&store, "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead'").await, 30);
    assert_eq!(claim(&store, "one", 2).await.len(), 30);
    assert_eq!(claim(&store, "one", 4).await.len(), 1);
}

#[tokio::test]
async fn a_process_without_shards_has_nothing_to_wait_for() {
    let (place, one) = fresh().await;
    let two = place.open().await;
    keep(&one, (0..20).map(|n| Record::Outbox(message(&n.to_string(), Some(&n.to_string()))))).await;
    assert_eq!(two.next_outbox_due().await.unwrap(), Some(at(0)), "nobody has the shards yet");
    let given = claim(&one, "one", 1).await;
    assert_eq!(settle(&one, &given[..10]).await, 10);
    assert_eq!(two.next_outbox_due().await.unwrap(), None, "what is left is in others' hands");
    let retry = OutboxOutcome::Retry { due: at(60), error: "broker away".to_owned() };
    assert_eq!(one.settle_outbox(vec![(given[10].claim, retry)]).await.unwrap(), 1);
    assert_eq!(two.next_outbox_due().await.unwrap(), Some(at(60)));
}

/// Rows in every state and with gaps between them, some of them under way: a page by itself tells what stands before its rows as one
/// does that asks for each.
#[tokio::test]
async fn g10_a_page_of_a_long_backlog_knows_what_stands_before_each_row() {
    for seed in 0..12_u32 {
        let (_place, store) = fresh().await;
        let key = |n: u32| format!("k{}", (n * (seed + 3)) % 7);
        let keyed = |n: u32| (!n.is_multiple_of(11)).then(|| key(n));
        let event = |n: u32| Record::Outbox(message(&n.to_string(), keyed(n).as_deref()));
        keep(&store, (0..200).map(event)).await;
        let first = store.claim_outbox(request("one", 1, 20 * (seed as usize % 4))).await.unwrap();
        settle(&store, &first[..first.len() / 2]).await;
        let change =
            "UPDATE cqrs_outbox SET state = CASE seq % ? WHEN 1 THEN 'waiting' WHEN 2 THEN 'dead' WHEN 3 THEN 'parked'
            ELSE state END, due_at = ? WHERE seq > 60";
        sqlx::query(change).bind(17 + 9 * i64::from(seed)).bind(i64::MAX).execute(&store.pool).await.unwrap();
        run_on(&store, "DELETE FROM cqrs_outbox WHERE seq % 13 = 5 AND seq > 60").await;
        let under_way = store.with_desk(|desk| desk.lanes());
        let open: Vec<i16> = (0..16).collect();
        let after = if seed.is_multiple_of(3) { 0 } else { 60 + 10 * i64::from(seed) };
        for limit in [1, 7, 200] {
            let by_itself = store.page(&open, after, Some(i64::MAX), limit).await.unwrap();
            let each = store.page(&open, after, None, limit).await.unwrap();
            assert_eq!(by_itself.len(), each.len());
            assert!(each.iter().any(|row| row.before.is_some()) || limit < 200);
            for (one, other) in by_itself.iter().zip(&each) {
                let line = format!("seed {seed}, {limit} behind {after}: {}", one.seq);
                assert_eq!(
                    (one.seq, one.lane, one.before.is_some()),
                    (other.seq, other.lane, other.before.is_some()),
                    "{line}"
                );
                // Of a lane that rests anything does that is before.
                if one.lane.is_some_and(|lane| under_way.contains(&lane)) {
                    assert_eq!(one.before, other.before, "{line}");
                }
            }
        }
    }
}

/// A batch of numbers without a gap, and right behind it one that somebody has taken and not committed.
#[tokio::test]
async fn settling_waits_for_nobody_who_has_stored_the_next_row() {
    let (_place, store) = fresh().await;
    keep(&store, (0..6).map(|n| Record::Outbox(message(&n.to_string(), Some(&n.to_string()))))).await;
    let claimed = claim(&store, "one", 1).await;
    assert_eq!(claimed.len(), 6);
    let mut slow = store.begin().await.unwrap();
    slow.store(vec![Record::Outbox(message("slow", Some("s")))]).await.unwrap();
    let settled = tokio::time::timeout(Duration::from_secs(20), settle(&store, &claimed)).await;
    assert_eq!(settled.expect("it waits for a row that is not its own"), 6);
    slow.commit().await.unwrap();
    assert_eq!(names(&claim(&store, "one", 1).await), ["slow"]);
}

/// What is small enough goes along with the look at the transaction; the rest needs statements of its own.
#[tokio::test]
async fn few_large_messages_are_stored_in_several_statements() {
    let (_place, store) = with_orders().await;
    let mut tx = store.begin().await.unwrap();
    tx.handle().unwrap();
    let large = |n: u32| Record::Outbox(OutboxRecord { payload: vec![7; 7 << 20], ..message(&n.to_string(), None) });
    tx.store((0..3).map(large).collect()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.counts().await.unwrap().outbox, 3);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_a_dead_letter_and_holds_up_its_key_alone() {
    let (_place, store) = fresh().await;
    keep(&store, ["a1", "a2", "b1"].map(|name| Record::Outbox(message(name, Some(&name[..1]))))).await;
    run_on(&store, "UPDATE cqrs_outbox SET headers = 'no JSON' WHERE name = 'a1'").await;
    assert_eq!(names(&claim(&store, "one", 1).await), ["b1"]);
    assert!(claim(&store, "one", 1).await.is_empty());
    let letters = store.dead_letters(9).await.unwrap();
    assert!(letters[0].error.starts_with("the row cannot be read"), "{letters:?}");
    assert_eq!(number(&store, "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'parked'").await, 1);
    assert!(store.discard(letters[0].id).await.unwrap());
    assert_eq!(names(&claim(&store, "one", 1).await), ["a2"]);
}

/// A process that was stopped in the middle has locked a row: whoever settles waits for it, and its shards can be renewed and taken over
/// all the same.
#[tokio::test]
async fn g12_who_waits_for_a_locked_row_keeps_nobody_from_its_shards() {
    for outcome in [OutboxOutcome::Published, OutboxOutcome::Dead { error: "no".to_owned() }] {
        let (_place, store) = fresh().await;
        keep(&store, ["a", "b"].map(|name| Record::Outbox(message(name, Some(name))))).await;
        let claimed = claim(&store, "one", 1).await;
        let mut hand = store.pool.begin().await.unwrap();
        sqlx::query("SELECT seq FROM cqrs_outbox WHERE name = 'b' FOR UPDATE").fetch_all(&mut *hand).await.unwrap();
        let outcomes = claimed.iter().map(|row| (row.claim, outcome.clone())).collect();
        let others = async {
            // It waits by then. What the server tells of transactions is told anew only to who has not asked for a while.
            let waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
            while number(&store, waiting).await == 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let claims = claimed.iter().map(|row| row.claim).collect();
            assert_eq!(store.renew_outbox(claims, at(60)).await.unwrap().len(), 2);
            hand.rollback().await.unwrap();
        };
        let (settled, ()) = tokio::join!(store.settle_outbox(outcomes), others);
        assert_eq!(settled.unwrap(), 2);
    }
}
