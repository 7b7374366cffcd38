//! Outbox rows: what a claim sees, and what it must not miss.

use super::*;

fn dead() -> OutboxOutcome {
    OutboxOutcome::Dead { error: "too large".to_owned() }
}

fn retry(seconds: u64) -> OutboxOutcome {
    OutboxOutcome::Retry { due: at(seconds), error: "broker away".to_owned() }
}

async fn parked(store: &PostgresStore) -> i64 {
    number(&store.pool, "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'parked'").await
}

/// Numbers are given when a row is stored, and a transaction may commit long after a later number was published.
#[tokio::test]
async fn g8_a_row_that_is_committed_after_later_ones_were_published_is_found_at_the_next_look() {
    let (_schema, store) = fresh().await;
    let mut late = store.begin().await.unwrap();
    late.store(vec![Record::Outbox(message("late", None))]).await.unwrap();
    for round in 0..20 {
        keep_messages(&store, [message(&round.to_string(), None)]).await;
        let claimed = claim(&store, 1, 100).await;
        assert_eq!(names(&claimed), [round.to_string()]);
        assert_eq!(publish(&store, &claimed).await, 1);
    }
    late.commit().await.unwrap();
    assert_eq!(names(&claim(&store, 1, 100).await), ["late"]);
}

/// Of two that were stored one after the other under a lock, the first is committed late, and the second right after it: whoever
/// has read beyond the first must not give out the second before it.
#[tokio::test]
async fn g10_a_late_commit_does_not_change_the_order_of_its_key() {
    let (_schema, store) = fresh().await;
    let mut first = store.begin().await.unwrap();
    first.store(vec![Record::Outbox(message("first", Some("k")))]).await.unwrap();
    keep_messages(&store, [message("other", None)]).await;
    let other = claim(&store, 1, 1).await;
    assert_eq!(names(&other), ["other"]);
    first.commit().await.unwrap();
    keep_messages(&store, [message("second", Some("k"))]).await;
    assert_eq!(names(&claim(&store, 1, 1).await), ["first"]);
    assert!(claim(&store, 1, 1).await.is_empty(), "the first of its key is under way");
}

/// Transactions of all lengths, side by side, while somebody publishes: nothing is missed, nothing comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_nothing_is_missed_while_many_commit_in_any_order() {
    let (_schema, store) = fresh().await;
    let writer = async |writer: u64| {
        for n in 0..30_u64 {
            let mut tx = store.begin().await.unwrap();
            tx.store(vec![Record::Outbox(message(&format!("{writer}-{n}"), None))]).await.unwrap();
            tokio::time::sleep(Duration::from_millis((writer * 7 + n * 13) % 40)).await;
            if n % 10 == 9 { tx.rollback().await.unwrap() } else { tx.commit().await.unwrap() }
        }
    };
    let mut seen = std::collections::HashSet::new();
    let reader = async {
        while seen.len() < 6 * 27 {
            let claimed = claim(&store, 1, 5).await;
            publish(&store, &claimed).await;
            for row in claimed {
                assert!(seen.insert(row.record.name.clone()), "{} came twice", row.record.name);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let writers = async { tokio::join!(writer(0), writer(1), writer(2), writer(3), writer(4), writer(5)) };
    tokio::time::timeout(Duration::from_mins(2), async { tokio::join!(writers, reader) })
        .await
        .expect("everything is found");
    assert!(claim(&store, 1, 5).await.is_empty());
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

#[tokio::test]
async fn what_is_behind_a_dead_row_is_parked_and_found_again_by_another_process() {
    let (schema, store) = fresh().await;
    keep_messages(&store, ["a1", "a2", "b1", "a3"].map(|name| message(name, Some(&name[..1])))).await;
    let first = claim(&store, 1, 1).await;
    assert_eq!(settle(&store, &first, &dead()).await, 1);
    let b1 = claim(&store, 1, 9).await;
    assert_eq!((names(&b1), parked(&store).await), (vec!["b1"], 2));
    publish(&store, &b1).await;
    assert!(claim(&store, 1, 9).await.is_empty());
    // Another process, the command line say, replays it.
    let other = schema.open().await;
    let letter = other.dead_letters(9).await.unwrap()[0].id;
    assert!(other.replay(letter, at(2)).await.unwrap());
    let again = claim(&store, 2, 9).await;
    assert_eq!(names(&again), ["a1", "a2", "a3"]);
    settle(&store, &again[..1], &dead()).await;
    settle(&store, &again[1..], &OutboxOutcome::HandBack).await;
    assert!(claim(&store, 2, 9).await.is_empty());
    assert!(other.discard(letter).await.unwrap());
    assert_eq!(names(&claim(&store, 2, 9).await), ["a2", "a3"]);
}

/// While somebody is about to take a dead row away, nothing is parked behind it: he would not see it.
#[tokio::test]
async fn nothing_is_parked_behind_a_row_that_is_on_its_way_out() {
    let (_schema, store) = fresh().await;
    keep_messages(&store, ["a1", "a2"].map(|name| message(name, Some("a")))).await;
    let first = claim(&store, 1, 1).await;
    settle(&store, &first, &dead()).await;
    let mut taker = store.begin().await.unwrap();
    run(&mut taker, "DELETE FROM cqrs_outbox WHERE state = 'dead'").await.unwrap();
    assert!(claim(&store, 1, 9).await.is_empty());
    assert_eq!(parked(&store).await, 0);
    taker.commit().await.unwrap();
    assert_eq!(names(&claim(&store, 1, 9).await), ["a2"]);
}

#[tokio::test]
async fn what_waits_holds_back_its_key_and_comes_when_it_is_due() {
    let (_schema, store) = fresh().await;
    keep_messages(&store, ["a1", "a2", "b1"].map(|name| message(name, Some(&name[..1])))).await;
    let claimed = claim(&store, 1, 9).await;
    settle(&store, &claimed[..1], &retry(4)).await;
    settle(&store, &claimed[1..2], &OutboxOutcome::HandBack).await;
    publish(&store, &claimed[2..]).await;
    assert!(claim(&store, 2, 9).await.is_empty());
    assert_eq!(store.next_outbox_due().await.unwrap(), Some(at(4)));
    let again = claim(&store, 4, 9).await;
    assert_eq!(names(&again), ["a1", "a2"]);
    assert_eq!((again[0].attempts, again[1].attempts), (1, 0));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_a_dead_letter_and_holds_up_its_key_alone() {
    let (_schema, store) = fresh().await;
    keep_messages(&store, ["a1", "a2", "b1"].map(|name| message(name, Some(&name[..1])))).await;
    run_sql(&store.pool, "UPDATE cqrs_outbox SET headers = 'no JSON' WHERE name = 'a1'").await;
    assert_eq!(names(&claim(&store, 1, 9).await), ["b1"]);
    assert!(claim(&store, 1, 9).await.is_empty());
    let letters = store.dead_letters(9).await.unwrap();
    assert!(letters[0].error.starts_with("the row cannot be read"), "{letters:?}");
    assert_eq!(parked(&store).await, 1);
}

/// However large the backlog is, a claim looks at what it takes.
#[tokio::test]
async fn rows_behind_a_busy_key_do_not_hide_the_others_for_ever() {
    let (_schema, store) = fresh().await;
    let hot = (0..60).map(|n| message(&format!("hot-{n}"), Some("hot")));
    keep_messages(&store, hot.chain([message("cold", Some("cold"))])).await;
    let first = claim(&store, 1, 2).await;
    assert_eq!(names(&first), ["hot-0", "hot-1"]);
    let mut found = Vec::new();
    for _ in 0..20 {
        found.extend(claim(&store, 1, 2).await);
    }
    assert_eq!(names(&found), ["cold"]);
    publish(&store, &first).await;
    assert_eq!(names(&claim(&store, 1, 2).await), ["hot-2", "hot-3"]);
}

#[tokio::test]
async fn a_claim_of_events_lasts_from_when_it_was_granted() {
    let (schema, _) = fresh().await;
    let store = schema.lent(1).await;
    keep_messages(&store, [message("a", None)]).await;
    let busy = store.pool.acquire().await.unwrap();
    let (claimed, ()) = tokio::join!(claim(&store, 1, 9), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(busy);
    });
    assert_eq!(names(&claimed), ["a"]);
    let late = at(1) + LEASE + Duration::from_millis(500);
    let look = ClaimRequest { lease_now: late, lease_until: late + LEASE, ..request("b", 6, 9) };
    assert!(store.claim_outbox(look).await.unwrap().is_empty(), "it was granted a second after it was asked for");
}

#[tokio::test]
async fn what_is_due_is_woken_a_thousand_at_a_time() {
    let (_schema, store) = fresh().await;
    keep_messages(&store, (0..1_200).map(|n| message(&n.to_string(), None))).await;
    let all = claim(&store, 1, 2_000).await;
    assert_eq!(settle(&store, &all, &retry(2)).await, 1_200);
    assert_eq!(claim(&store, 5, 1).await.len(), 1);
    let waiting = "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'waiting'";
    assert_eq!(number(&store.pool, waiting).await, 200, "a claim holds no more locks than that");
    assert_eq!(claim(&store, 5, 2_000).await.len(), 1_199);
}

/// When the broker goes away, thousands of rows are put off at once.
#[tokio::test]
async fn rows_that_are_not_published_are_settled_together() {
    let (_schema, store) = fresh().await;
    keep_messages(&store, (0..300).map(|n| message(&n.to_string(), None))).await;
    let all = claim(&store, 1, 300).await;
    let outcome = |n: usize| match n % 3 {
        0 => retry(2),
        1 => OutboxOutcome::Retry { due: at(3), error: format!("broker away {n}") },
        _ => OutboxOutcome::Dead { error: format!("too large {n}") },
    };
    let outcomes = all.iter().enumerate().map(|(n, row)| (row.claim, outcome(n))).collect();
    assert_eq!(store.settle_outbox(outcomes).await.unwrap(), 300);
    let statements = "SELECT COUNT(DISTINCT cmin::text) FROM cqrs_outbox";
    assert_eq!(number(&store.pool, statements).await, 2, "one statement for what waits, one for what is dead");
    let error: String =
        sqlx::query_scalar("SELECT error FROM cqrs_outbox WHERE name = '4'").fetch_one(&store.pool).await.unwrap();
    assert_eq!(error, "broker away 4");
    assert_eq!(number(&store.pool, "SELECT SUM(attempts)::BIGINT FROM cqrs_outbox").await, 300);
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead'").await, 100);
    assert_eq!((claim(&store, 2, 300).await.len(), claim(&store, 3, 300).await.len()), (100, 100));
}

/// How many rows of the outbox the server has read.
async fn read(store: &PostgresStore) -> i64 {
    let mut connection = store.pool.acquire().await.unwrap();
    run_on(&mut connection, "SELECT pg_stat_force_next_flush()").await.unwrap();
    run_on(&mut connection, "SELECT pg_stat_clear_snapshot()").await.unwrap();
    let read = "SELECT COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0) FROM pg_stat_user_tables
        WHERE relid = 'cqrs_outbox'::regclass";
    sqlx::query_scalar(read).fetch_one(&mut *connection).await.unwrap()
}

#[tokio::test]
async fn a_process_without_shards_does_not_read_what_others_publish() {
    let (schema, one) = fresh().await;
    let two = schema.lent(1).await;
    assert!(claim(&one, 1, 1).await.is_empty());
    keep_messages(&one, (0..3_000).map(|n| message(&n.to_string(), Some(&n.to_string())))).await;
    run_sql(&one.pool, "ANALYZE cqrs_outbox").await;
    // All shards are the first one's.
    assert!(claim(&two, 1, 10).await.is_empty());
    let before = read(&two).await;
    assert_eq!(two.next_outbox_due().await.unwrap(), None);
    assert!(read(&two).await - before < 500, "a process without shards has read the backlog");
}
