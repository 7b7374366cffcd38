//! Outbox rows: order per key, leases and fences, settling.

use super::*;
use crate::store::OutboxOutcome;

async fn settle(store: &SqliteStore, row: &ClaimedOutbox, outcome: OutboxOutcome) -> u64 {
    store.settle_outbox(vec![(row.claim, outcome)]).await.unwrap()
}

fn retry(seconds: u64) -> OutboxOutcome {
    OutboxOutcome::Retry { due: at(seconds), error: "broker away".to_owned() }
}

fn dead() -> OutboxOutcome {
    OutboxOutcome::Dead { error: "too large".to_owned() }
}

/// Looks once, so that owners whose leases have run out are doubted, and leaves what it was given.
async fn lose(store: &SqliteStore, seconds: u64) {
    for row in claim_messages(store, seconds).await {
        assert_eq!(settle(store, &row, OutboxOutcome::HandBack).await, 1);
    }
}

#[tokio::test]
async fn a_row_that_waits_holds_back_its_key_only() {
    let (_dir, store) = fresh().await;
    keep_messages(&store, [message("a1", Some("a")), message("a2", Some("a")), message("b1", Some("b"))]).await;
    let claimed = store.claim_outbox(request("one", 1, 1)).await.unwrap();
    assert_eq!(settle(&store, &claimed[0], retry(60)).await, 1);
    assert_eq!(message_names(&claim_messages(&store, 2).await), ["b1"]);
    assert_eq!(next_due(&store).await, Some(at(60)), "`b1` is in good hands");
    lose(&store, 58).await;
    let again = claim_messages(&store, 60).await;
    assert_eq!(message_names(&again), ["a1", "a2", "b1"], "both of the key in order, and the lease of `b1` is over");
    assert_eq!(again[0].attempts, 1);
    assert_eq!(again[1].attempts, 0);
    assert_eq!(again[2].attempts, 1, "a lease that ran out counts as an attempt");
    assert_eq!(again[2].claim.fence, 2);
}

#[tokio::test]
async fn g12_a_stalled_process_settles_nothing() {
    let (dir, store) = fresh().await;
    let other = dir.open().await;
    keep_messages(&store, [message("a1", Some("a")), message("a2", Some("a"))]).await;
    let stale = claim_messages(&store, 1).await;
    assert!(other.claim_outbox(request("two", 5, 100)).await.unwrap().is_empty(), "the lease holds");
    assert!(other.claim_outbox(request("two", 6, 100)).await.unwrap().is_empty(), "it is doubted first");
    let current = other.claim_outbox(request("two", 8, 100)).await.unwrap();
    assert_eq!(message_names(&current), ["a1", "a2"]);
    for outcome in [OutboxOutcome::Published, retry(9), dead(), OutboxOutcome::HandBack] {
        assert_eq!(settle(&store, &stale[0], outcome).await, 0);
    }
    let stale_claims = stale.iter().map(|row| row.claim).collect();
    assert_eq!(store.renew_outbox(stale_claims, at(60)).await.unwrap(), []);
    assert!(claim_messages(&store, 9).await.is_empty());
    let all = current.iter().map(|row| (row.claim, OutboxOutcome::Published)).collect();
    assert_eq!(other.settle_outbox(all).await.unwrap(), 2);
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

/// The same within one process, where somebody was given rows and is not heard of.
#[tokio::test]
async fn g12_who_lets_a_claim_run_out_settles_nothing_and_harms_no_other_claim() {
    let (_dir, store) = fresh().await;
    keep_messages(&store, ["a", "b", "c"].map(|name| message(name, Some(name)))).await;
    let stale = store.claim_outbox(request("one", 1, 1)).await.unwrap();
    let kept = store.claim_outbox(request("two", 4, 1)).await.unwrap();
    let again = store.claim_outbox(request("three", 7, 1)).await.unwrap();
    assert_eq!((message_names(&kept), message_names(&again)), (vec!["b"], vec!["a"]));
    assert_eq!(again[0].attempts, 1);
    assert_eq!(settle(&store, &stale[0], OutboxOutcome::Published).await, 0);
    assert_eq!(settle(&store, &kept[0], OutboxOutcome::Published).await, 1, "its claim is of before, and holds");
    assert_eq!(settle(&store, &again[0], OutboxOutcome::Published).await, 1);
    assert_eq!(message_names(&claim_messages(&store, 8).await), ["c"]);
}

#[tokio::test]
async fn a_renewed_lease_lasts() {
    let (dir, store) = fresh().await;
    let other = dir.open().await;
    keep_messages(&store, ["a", "b"].map(|name| message(name, None))).await;
    let claimed = claim_messages(&store, 1).await;
    assert_eq!(settle(&store, &claimed[1], OutboxOutcome::Published).await, 1);
    let claims = claimed.iter().map(|row| row.claim).collect();
    assert_eq!(store.renew_outbox(claims, at(30)).await.unwrap(), [claimed[0].claim], "the other row is gone");
    assert!(other.claim_outbox(request("two", 29, 9)).await.unwrap().is_empty());
    // Late, yet in time: whoever looked has doubted it, and not taken its work.
    assert!(other.claim_outbox(request("two", 30, 9)).await.unwrap().is_empty());
    assert_eq!(store.renew_outbox(vec![claimed[0].claim], at(40)).await.unwrap(), [claimed[0].claim]);
    assert!(other.claim_outbox(request("two", 39, 9)).await.unwrap().is_empty());
    assert!(other.claim_outbox(request("two", 40, 9)).await.unwrap().is_empty());
    assert_eq!(other.claim_outbox(request("two", 42, 9)).await.unwrap().len(), 1);
}

/// Whoever has nothing to publish writes nothing, and stands in nobody's way.
#[tokio::test]
async fn an_idle_process_lets_the_lease_go_and_takes_it_with_the_next_event() {
    let (dir, store) = fresh().await;
    let other = dir.open().await;
    assert!(claim_messages(&store, 1).await.is_empty());
    assert_eq!(number(&store.pool, "SELECT fence FROM cqrs_relay").await, 0, "nothing was written");
    keep_messages(&store, [message("a", None)]).await;
    let claimed = claim_messages(&store, 1).await;
    assert_eq!(settle(&store, &claimed[0], OutboxOutcome::Published).await, 1);
    for second in 2..9 {
        assert!(claim_messages(&store, second).await.is_empty());
    }
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM cqrs_relay WHERE owner IS NULL").await, 1);
    keep_messages(&store, [message("b", None)]).await;
    assert_eq!(message_names(&other.claim_outbox(request("b", 9, 9)).await.unwrap()), ["b"]);
    assert_eq!(number(&store.pool, "SELECT lost FROM cqrs_relay").await, 0, "nobody was lost");
}

#[tokio::test]
async fn who_goes_in_good_order_leaves_the_lease_at_once() {
    let (dir, store) = fresh().await;
    let other = dir.open().await;
    keep_messages(&store, ["a", "b"].map(|name| message(name, Some("k")))).await;
    assert_eq!(claim_messages(&store, 1).await.len(), 2);
    assert!(other.claim_outbox(request("two", 1, 9)).await.unwrap().is_empty());
    assert_eq!(other.next_outbox_due().await.unwrap(), None, "they are in good hands");
    store.release("a").await.unwrap();
    assert_eq!(other.next_outbox_due().await.unwrap(), Some(at(0)));
    assert_eq!(message_names(&other.claim_outbox(request("two", 1, 9)).await.unwrap()), ["a", "b"]);
}

/// What is made ready again by somebody else has its old place, though what is behind it could go out by now.
#[tokio::test]
async fn g10_what_another_process_replays_goes_before_what_is_behind_it() {
    let (dir, store) = fresh().await;
    let operator = dir.open().await;
    keep_messages(&store, ["a1", "a2", "a3"].map(|name| message(name, Some("a")))).await;
    keep_messages(&store, [message("b", Some("b"))]).await;
    let first = store.claim_outbox(request("a", 1, 1)).await.unwrap();
    assert_eq!(settle(&store, &first[0], dead()).await, 1);
    assert_eq!(message_names(&claim_messages(&store, 1).await), ["b"]);
    let letter = operator.dead_letters(9).await.unwrap()[0].id;
    assert!(operator.replay(letter, at(2)).await.unwrap());
    keep_messages(&store, [message("a4", Some("a"))]).await;
    assert_eq!(message_names(&claim_messages(&store, 2).await), ["a1", "a2", "a3", "a4"]);
}

/// A backlog of one key, and of a key that is under way, is not read again and again.
#[tokio::test]
async fn more_of_a_key_that_is_under_way_is_given_to_who_has_it() {
    let (_dir, store) = fresh().await;
    keep_messages(&store, (0..40).map(|n| message(&n.to_string(), Some("k")))).await;
    let first = store.claim_outbox(request("a", 1, 10)).await.unwrap();
    let second = store.claim_outbox(request("a", 1, 10)).await.unwrap();
    assert_eq!((first.len(), second.len()), (10, 0), "no key may use up all that its owner can hold");
    assert!(store.claim_outbox(request("b", 1, 10)).await.unwrap().is_empty());
    let outcomes = first.iter().map(|row| (row.claim, OutboxOutcome::Published)).collect();
    assert_eq!(store.settle_outbox(outcomes).await.unwrap(), 10);
    let names: Vec<String> = (10..20).map(|n: u32| n.to_string()).collect();
    assert_eq!(message_names(&store.claim_outbox(request("b", 1, 10)).await.unwrap()), names);
}

/// Somebody publishes a row that ends its process, again and again. It is found out, the others are published, and in the end it is
/// a dead letter.
#[tokio::test]
async fn g11_what_kills_its_process_ends_as_a_dead_letter_and_the_rest_goes_out() {
    let (dir, store) = fresh().await;
    let rows = ["before", "kills", "behind", "after"];
    keep_messages(&store, rows.map(|name| message(name, Some(if name == "behind" { "kills" } else { name })))).await;
    let mut published = Vec::new();
    for life in 0..60 {
        let process = dir.open().await;
        let mut second = 10 + life * 20;
        loop {
            let mut claimed = process.claim_outbox(request("a", second, 9)).await.unwrap();
            if claimed.is_empty() {
                // Its owner is doubted first.
                second += 3;
                claimed = process.claim_outbox(request("a", second, 9)).await.unwrap();
            }
            // The process dies with whatever it holds beside that row.
            if claimed.is_empty() || claimed.iter().any(|row| row.record.name == "kills") {
                break;
            }
            published.extend(claimed.iter().map(|row| row.record.name.clone()));
            for row in &claimed {
                assert_eq!(settle(&process, row, OutboxOutcome::Published).await, 1);
            }
        }
    }
    let letters = store.dead_letters(9).await.unwrap();
    assert_eq!((letters.len(), letters[0].name.as_str()), (1, "kills"));
    assert!(letters[0].error.contains("20 times in a row"), "{}", letters[0].error);
    published.sort_unstable();
    assert_eq!(published, ["after", "before"], "what is behind it waits for somebody to decide");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_blocks_only_its_key() {
    let (_dir, store) = fresh().await;
    let rows = [("bad", Some("a")), ("behind", Some("a")), ("good", Some("b")), ("worse", None)];
    keep_messages(&store, rows.map(|(name, key)| message(name, key))).await;
    for sql in [
        "UPDATE cqrs_outbox SET headers = 'no JSON' WHERE name = 'bad'",
        "UPDATE cqrs_outbox SET id = x'00' WHERE name = 'worse'",
    ] {
        sqlx::query(sql).execute(&store.pool).await.unwrap();
    }
    assert_eq!(message_names(&claim_messages(&store, 1).await), ["good"]);
    assert!(claim_messages(&store, 2).await.is_empty());
    let letters = store.dead_letters(9).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert!(letters[0].error.contains("cannot be read"), "{}", letters[0].error);
    assert_eq!(letters[0].payload, [0, 1, 254, 255]);
    assert!(store.discard(letters[0].id).await.unwrap());
    assert_eq!(message_names(&claim_messages(&store, 3).await), ["behind"]);
}

#[tokio::test]
async fn a_row_whose_claims_run_out_again_and_again_is_dead() {
    let (_dir, store) = fresh().await;
    keep_messages(&store, [message("kills", Some("1")), message("follows", Some("1")), message("sound", None)]).await;
    // An outage, however long, is no reason.
    for round in 0..30 {
        let claimed = claim_messages(&store, round).await;
        assert_eq!(claimed.len(), 3);
        for row in &claimed {
            let outcome = if row.record.key.is_some() { retry(round) } else { OutboxOutcome::HandBack };
            assert_eq!(settle(&store, row, outcome).await, 1);
        }
    }
    for lost in 1..=20 {
        lose(&store, 98 + 10 * lost).await;
        let claimed = claim_messages(&store, 100 + 10 * lost).await;
        assert_eq!(message_names(&claimed), ["kills", "follows", "sound"], "{lost}");
        for row in &claimed[1..] {
            assert_eq!(settle(&store, row, OutboxOutcome::HandBack).await, 1);
        }
    }
    lose(&store, 398).await;
    assert_eq!(message_names(&claim_messages(&store, 400).await), ["sound"]);
    let dead = store.dead_letters(10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].name.as_str(), dead[0].attempts), ("kills", 50));
    assert!(
        dead[0]
            .error
            .ends_with("20 times in a row; publishing it may be what ends the process, so it is not tried again")
    );
    // Replayed, it has as many again.
    assert!(store.replay(dead[0].id, at(500)).await.unwrap());
    for lost in 0..20 {
        lose(&store, 498 + 10 * lost).await;
        assert_eq!(claim_messages(&store, 500 + 10 * lost).await[0].record.name, "kills");
    }
    lose(&store, 698).await;
    assert!(message_names(&claim_messages(&store, 700).await).iter().all(|name| *name != "kills"));
}

#[tokio::test]
async fn an_answer_of_the_broker_starts_the_count_of_lost_claims_anew() {
    let (_dir, store) = fresh().await;
    keep_messages(&store, [message("slow", None)]).await;
    for round in 0..60 {
        lose(&store, 8 + 10 * round).await;
        let claimed = claim_messages(&store, 10 + 10 * round).await;
        assert_eq!(message_names(&claimed), ["slow"], "{round}");
        if round % 19 == 0 {
            settle(&store, &claimed[0], retry(10 * round)).await;
        }
    }
}

/// The text of an error is for people: who writes another one changes nothing else.
#[tokio::test]
async fn the_count_of_lost_claims_does_not_depend_on_the_error_text() {
    let (_dir, store) = fresh().await;
    keep_messages(&store, [message("kills", None)]).await;
    for lost in 0..20 {
        lose(&store, 8 + 10 * lost).await;
        assert_eq!(message_names(&claim_messages(&store, 10 + 10 * lost).await), ["kills"], "{lost}");
        assert_eq!(number(&store.pool, "SELECT lost FROM cqrs_outbox").await, i64::try_from(lost).unwrap());
        sqlx::query("UPDATE cqrs_outbox SET error = 'looked at by hand'").execute(&store.pool).await.unwrap();
    }
    lose(&store, 298).await;
    assert!(claim_messages(&store, 300).await.is_empty());
    assert_eq!(store.dead_letters(9).await.unwrap().len(), 1);
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead' AND lost = 20").await, 1);
}

#[tokio::test]
async fn what_is_behind_a_dead_row_is_parked_until_that_is_gone() {
    let (_dir, store) = fresh().await;
    let rows = [("a1", Some("a")), ("a2", Some("a")), ("b1", Some("b")), ("n", None), ("a3", Some("a"))];
    keep_messages(&store, rows.map(|(name, key)| message(name, key))).await;
    let first = store.claim_outbox(request("a", 1, 1)).await.unwrap();
    assert_eq!(settle(&store, &first[0], dead()).await, 1);
    assert_eq!(message_names(&store.claim_outbox(request("a", 1, 1)).await.unwrap()), ["b1"]);
    let parked = "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'parked'";
    assert_eq!(number(&store.pool, parked).await, 1, "no more than what the claim passed by");
    assert_eq!(message_names(&claim_messages(&store, 1).await), ["n"]);
    assert_eq!(number(&store.pool, parked).await, 2);
    keep_messages(&store, [message("a4", Some("a"))]).await;
    assert!(claim_messages(&store, 1).await.is_empty());
    assert_eq!((number(&store.pool, parked).await, store.counts().await.unwrap().outbox), (3, 5));
    let letter = store.dead_letters(9).await.unwrap()[0].id;
    assert!(store.replay(letter, at(2)).await.unwrap());
    let again = claim_messages(&store, 2).await;
    assert_eq!(message_names(&again), ["a1", "a2", "a3", "a4"]);
    // Dead in the middle, it parks what is behind it and nothing else.
    assert_eq!(settle(&store, &again[0], OutboxOutcome::Published).await, 1);
    assert_eq!(settle(&store, &again[1], dead()).await, 1);
    for row in &again[2..] {
        assert_eq!(settle(&store, row, OutboxOutcome::HandBack).await, 1);
    }
    assert!(claim_messages(&store, 3).await.is_empty());
    assert_eq!(number(&store.pool, parked).await, 2);
    assert_eq!(store.free_stranded().await.unwrap(), 0);
    assert!(store.discard(store.dead_letters(9).await.unwrap()[0].id).await.unwrap());
    assert_eq!(message_names(&claim_messages(&store, 3).await), ["a3", "a4"]);
}

#[tokio::test]
async fn what_a_dead_row_held_is_freed_in_whole_when_the_row_was_deleted_by_hand() {
    let (_dir, store) = fresh().await;
    keep_messages(&store, ["a1", "a2", "a3", "a4"].map(|name| message(name, Some("a")))).await;
    let first = store.claim_outbox(request("a", 1, 1)).await.unwrap();
    assert_eq!(settle(&store, &first[0], dead()).await, 1);
    assert!(claim_messages(&store, 1).await.is_empty());
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'parked'").await, 3);
    sqlx::query("DELETE FROM cqrs_outbox WHERE state = 'dead'").execute(&store.pool).await.unwrap();
    assert_eq!(store.free_stranded().await.unwrap(), 3);
    assert_eq!(message_names(&claim_messages(&store, 2).await), ["a2", "a3", "a4"]);
}

#[tokio::test]
async fn what_is_due_is_woken_a_thousand_at_a_time() {
    let (_dir, store) = fresh().await;
    keep_messages(&store, (0..1_200).map(|n| message(&n.to_string(), None))).await;
    let all = store.claim_outbox(request("a", 1, 2_000)).await.unwrap();
    let retry = OutboxOutcome::Retry { due: at(2), error: "broker away".to_owned() };
    let outcomes = all.iter().map(|row| (row.claim, retry.clone())).collect();
    assert_eq!(store.settle_outbox(outcomes).await.unwrap(), 1_200);
    assert_eq!(store.claim_outbox(request("a", 5, 1)).await.unwrap().len(), 1);
    let waiting = "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'waiting'";
    assert_eq!(number(&store.pool, waiting).await, 200, "a claim keeps no writer waiting for longer than that");
    // A claim that takes long gives what it has.
    let mut claimed = 0;
    while claimed < 1_199 {
        let more = store.claim_outbox(request("a", 5, 2_000)).await.unwrap().len();
        assert!(more > 0, "{claimed} of 1,199 have come");
        claimed += more;
    }
    assert_eq!(claimed, 1_199);
}

/// However many rows wait for one of their key, what is behind them goes out with the next claim, and they are not read again meanwhile.
#[tokio::test]
async fn g10_a_backlog_behind_a_row_that_waits_hides_nothing() {
    let (_dir, store) = fresh().await;
    keep_messages(&store, (0..500).map(|n| message(&n.to_string(), Some("k")))).await;
    let head = store.claim_outbox(request("a", 1, 1)).await.unwrap();
    assert_eq!(settle(&store, &head[0], retry(60)).await, 1);
    keep_messages(&store, [message("other", Some("o"))]).await;
    let other = store.claim_outbox(request("a", 2, 3)).await.unwrap();
    assert_eq!(message_names(&other), ["other"]);
    assert_eq!(settle(&store, &other[0], OutboxOutcome::Published).await, 1);
    assert_eq!(next_due(&store).await, Some(at(60)));
    let names: Vec<String> = (0..500).map(|n: u32| n.to_string()).collect();
    assert_eq!(message_names(&store.claim_outbox(request("a", 60, 1_000)).await.unwrap()), names);
}

/// Somebody discards a dead row while a claim, which has seen it, waits to set aside what is behind it.
#[tokio::test]
async fn g10_what_is_freed_while_a_claim_looks_is_found_with_the_next() {
    let (dir, store) = fresh().await;
    keep_messages(&store, ["a1", "a2"].map(|name| message(name, Some("a")))).await;
    let first = store.claim_outbox(request("a", 1, 1)).await.unwrap();
    assert_eq!(settle(&store, &first[0], dead()).await, 1);
    let other = dir.open().await;
    let mut writer = other.begin().await.unwrap();
    run(&mut writer, "DELETE FROM cqrs_outbox WHERE state = 'dead'").await.unwrap();
    let (claimed, ()) = tokio::join!(claim_messages(&store, 1), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        writer.commit().await.unwrap();
    });
    assert!(claimed.is_empty());
    keep_messages(&store, [message("a3", Some("a"))]).await;
    assert_eq!(message_names(&claim_messages(&store, 1).await), ["a2", "a3"]);
}

/// Whoever waited for somebody who wrote has the whole lease from then on.
#[tokio::test]
async fn g12_a_claim_that_waited_for_its_turn_to_write_counts_from_then() {
    let (dir, store) = fresh().await;
    keep_messages(&store, [message("a", None)]).await;
    let other = dir.open().await;
    let writer = other.begin().await.unwrap();
    let after = |millis| at(1) + Duration::from_millis(millis);
    let ask = |owner, millis| ClaimRequest {
        owner,
        now: at(1),
        lease_now: after(millis),
        lease_until: after(millis + 200),
        limit: 9,
    };
    let (claimed, ()) = tokio::join!(store.claim_outbox(ask("one", 0)), async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        drop(writer);
    });
    let claimed = claimed.unwrap();
    assert_eq!(claimed.len(), 1);
    assert!(store.claim_outbox(ask("two", 500)).await.unwrap().is_empty());
    assert_eq!(settle(&store, &claimed[0], OutboxOutcome::Published).await, 1);
}
