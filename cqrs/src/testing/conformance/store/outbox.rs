//! Outbox rows: order per key, leases and fences, settling.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::bench::{
    Bench, LONG_LEASE, Table, Turns, assert_in_order, at, claim_messages, keep_messages, message, message_names, names,
    next_due, request, settle, sorted,
};
use crate::store::driver::{ClaimRequest, Driver};
use crate::store::{Claim, ClaimedOutbox, OutboxOutcome, OutboxRecord};

/// How long other keys may wait behind a backlog that is held back. A claim may look at a part of it, and the next one go on.
const PATIENCE: Duration = Duration::from_secs(10);

fn retry(seconds: u64) -> OutboxOutcome {
    OutboxOutcome::Retry { due: at(seconds), error: "broker away".to_owned() }
}

fn dead() -> OutboxOutcome {
    OutboxOutcome::Dead { error: "too large".to_owned() }
}

async fn end(store: &dyn Driver, row: &ClaimedOutbox, outcome: OutboxOutcome) {
    assert_eq!(settle(store, row.claim, outcome.clone()).await, 1, "{outcome:?} of a row that is held");
}

pub(super) async fn a_row_comes_back_as_it_was_stored(store: Bench) {
    let stored = OutboxRecord {
        version: 7,
        raised_at: at(3) + Duration::from_micros(17),
        headers: BTreeMap::from([("traceparent".to_owned(), "00-ä\"-01".to_owned()), (String::new(), String::new())]),
        ..message("placed", Some("k"))
    };
    let bare = OutboxRecord { payload: Vec::new(), headers: BTreeMap::new(), ..message("größer", None) };
    keep_messages(&*store, [stored.clone(), bare.clone()]).await;
    let claimed = claim_messages(&*store, 5).await;
    let records: Vec<_> = claimed.iter().map(|row| row.record.clone()).collect();
    assert_eq!(records, [stored, bare]);
    assert_eq!((claimed[0].attempts, claimed[1].attempts), (0, 0));
}

pub(super) async fn rows_come_oldest_first_and_once(store: Bench) {
    keep_messages(&*store, ["a", "b", "c", "d"].map(|name| message(name, None))).await;
    assert!(store.claim_outbox(request("one", 1, 0)).await.unwrap().is_empty(), "nothing was asked for");
    let first = store.claim_outbox(request("one", 1, 3)).await.unwrap();
    assert_eq!(message_names(&first), ["a", "b", "c"]);
    let second = store.claim_outbox(request("one", 1, 3)).await.unwrap();
    assert_eq!(message_names(&second), ["d"], "the others are claimed");
    assert!(store.claim_outbox(request("two", 1, 3)).await.unwrap().is_empty());
    assert_eq!(store.counts().await.unwrap().claimed, 4);
}

pub(super) async fn a_claim_holds_a_prefix_of_each_key(store: Bench) {
    let rows = [("a1", Some("a")), ("b1", Some("b")), ("a2", Some("a")), ("n", None), ("b2", Some("b"))];
    keep_messages(&*store, rows.map(|(name, key)| message(name, key))).await;
    let mut turns = Turns::new(&*store, Table::Outbox, 1);
    assert_eq!(names(&turns.look("one", 3).await), ["a1", "b1", "a2"]);
    // `b2` is behind `b1`, which somebody holds; the same key of another topic is another key.
    let elsewhere = OutboxRecord { topic: "other".to_owned(), ..message("b-other", Some("b")) };
    keep_messages(&*store, [elsewhere]).await;
    assert_eq!(sorted(&turns.gather(&["two", "one"], 2).await), ["b-other", "n"]);
    turns.end("b1").await;
    assert_eq!(names(&turns.gather(&["two", "one"], 1).await), ["b2"]);
}

pub(super) async fn a_row_that_waits_holds_back_its_key_only(store: Bench) {
    keep_messages(&*store, [message("a1", Some("a")), message("a2", Some("a")), message("b1", Some("b"))]).await;
    let claimed = store.claim_outbox(request("a", 1, 1)).await.unwrap();
    end(&*store, &claimed[0], retry(60)).await;
    let others = claim_messages(&*store, 2).await;
    assert_eq!(message_names(&others), ["b1"]);
    assert_eq!(next_due(&*store).await, Some(at(60)), "`b1` is in good hands");
    end(&*store, &others[0], OutboxOutcome::Published).await;
    assert!(claim_messages(&*store, 59).await.is_empty());
    let again = claim_messages(&*store, 60).await;
    assert_eq!(message_names(&again), ["a1", "a2"]);
    assert_eq!((again[0].attempts, again[1].attempts), (1, 0));
}

pub(super) async fn a_backlog_that_is_held_back_hides_nothing(store: Bench) {
    let behind = |key: &'static str| (0..2_000).map(move |n| message(&format!("{key}{n}"), Some(key)));
    keep_messages(&*store, behind("waits")).await;
    let head = store.claim_outbox(request("one", 1, 1)).await.unwrap();
    end(&*store, &head[0], retry(60)).await;
    keep_messages(&*store, behind("hangs")).await;
    let hanging = store.claim_outbox(request("one", 1, 3)).await.unwrap();
    assert_eq!(message_names(&hanging), ["hangs0", "hangs1", "hangs2"]);
    keep_messages(&*store, [message("other", Some("other")), message("none", None)]).await;
    let mut others = Vec::new();
    let begun = Instant::now();
    while others.len() < 2 && begun.elapsed() < PATIENCE {
        others.extend(store.claim_outbox(request("one", 1, 3)).await.unwrap());
    }
    assert_eq!(message_names(&others), ["other", "none"]);
    for row in others.iter().chain(&hanging) {
        end(&*store, row, OutboxOutcome::Published).await;
    }
    for (seconds, key, from) in [(2, "hangs", 3), (60, "waits", 0)] {
        let rest = store.claim_outbox(request("one", seconds, 5_000)).await.unwrap();
        let names = message_names(&rest);
        let expected: Vec<String> = (from..2_000).map(|n| format!("{key}{n}")).collect();
        let first = names.iter().zip(&expected).position(|(name, expected)| name != expected);
        assert_eq!((names.len(), first), (expected.len(), None), "what comes of `{key}`");
        let outcomes = rest.iter().map(|row| (row.claim, OutboxOutcome::Published)).collect();
        assert_eq!(store.settle_outbox(outcomes).await.unwrap(), rest.len() as u64);
    }
}

pub(super) async fn a_row_that_is_due_again_comes_first_whatever_the_limit(store: Bench) {
    keep_messages(&*store, [message("a1", Some("a")), message("a2", Some("a"))]).await;
    let claimed = store.claim_outbox(request("one", 1, 1)).await.unwrap();
    end(&*store, &claimed[0], retry(2)).await;
    let again = store.claim_outbox(request("one", 9, 1)).await.unwrap();
    assert_eq!(message_names(&again), ["a1"]);
    assert!(store.claim_outbox(request("two", 9, 1)).await.unwrap().is_empty());
}

pub(super) async fn a_dead_row_holds_back_its_key(store: Bench) {
    keep_messages(&*store, [message("a1", Some("a")), message("a2", Some("a")), message("b1", Some("b"))]).await;
    let claimed = store.claim_outbox(request("a", 1, 1)).await.unwrap();
    end(&*store, &claimed[0], dead()).await;
    let others = claim_messages(&*store, 2).await;
    assert_eq!(message_names(&others), ["b1"], "other keys flow");
    end(&*store, &others[0], OutboxOutcome::Published).await;
    assert!(claim_messages(&*store, 500).await.is_empty());
    assert_eq!(next_due(&*store).await, None, "whoever waited for `a2` would turn in circles");
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.outbox, counts.dead), (1, 1));
}

pub(super) async fn rows_handed_back_were_not_attempted(store: Bench) {
    keep_messages(&*store, [message("a1", Some("a")), message("a2", Some("a"))]).await;
    let claimed = claim_messages(&*store, 1).await;
    let outcomes = vec![(claimed[0].claim, retry(9)), (claimed[1].claim, OutboxOutcome::HandBack)];
    assert_eq!(store.settle_outbox(outcomes).await.unwrap(), 2);
    assert!(claim_messages(&*store, 2).await.is_empty());
    let again = claim_messages(&*store, 9).await;
    assert_eq!(message_names(&again), ["a1", "a2"]);
    assert_eq!((again[0].attempts, again[1].attempts), (1, 0));
}

pub(super) async fn a_stalled_owner_settles_nothing(store: Bench) {
    keep_messages(&*store, [message("a1", Some("a")), message("a2", Some("a"))]).await;
    let stale = store.claim_outbox(request("one", 1, 100)).await.unwrap();
    let other = store.another().await;
    let mut turns = Turns::new(&*other, Table::Outbox, 5);
    assert_eq!(names(&turns.gather(&["two"], 2).await), ["a1", "a2"]);
    for outcome in [OutboxOutcome::Published, retry(9), dead(), OutboxOutcome::HandBack] {
        let settled = settle(&*store, stale[0].claim, outcome.clone()).await;
        assert_eq!(settled, 0, "{outcome:?} by an owner that another one has followed");
    }
    let claims: Vec<Claim> = stale.iter().map(|row| row.claim).collect();
    assert_eq!(store.renew_outbox(claims, at(600)).await.unwrap(), [], "renewed by an owner that was followed");
    for name in ["a1", "a2"] {
        turns.end(name).await;
    }
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

pub(super) async fn a_renewed_lease_lasts(store: Bench) {
    keep_messages(&*store, ["a", "b"].map(|name| message(name, None))).await;
    let claimed = store.claim_outbox(request("one", 1, 100)).await.unwrap();
    end(&*store, &claimed[1], OutboxOutcome::Published).await;
    let claims = claimed.iter().map(|row| row.claim).collect();
    assert_eq!(store.renew_outbox(claims, at(30)).await.unwrap(), [claimed[0].claim], "the other row is gone");
    let other = store.another().await;
    for seconds in [6, 12, 20, 29] {
        for (owner, process) in [("two", &other), ("one", &store)] {
            let given = process.claim_outbox(request(owner, seconds, 9)).await.unwrap();
            assert!(given.is_empty(), "`{owner}` was given at {seconds} what is held until 30");
        }
    }
    assert_eq!(store.renew_outbox(vec![claimed[0].claim], at(40)).await.unwrap(), [claimed[0].claim]);
    assert!(other.claim_outbox(request("two", 39, 9)).await.unwrap().is_empty());
    let mut turns = Turns::new(&*other, Table::Outbox, 39);
    assert_eq!(names(&turns.gather(&["two"], 1).await), ["a"]);
    assert_eq!(store.renew_outbox(Vec::new(), at(60)).await.unwrap(), []);
}

pub(super) async fn what_a_dead_process_held_is_taken_up(store: Bench) {
    keep_messages(&*store, [message("a1", Some("a")), message("a2", Some("a")), message("n", None)]).await;
    assert_eq!(store.claim_outbox(request("one", 0, 100)).await.unwrap().len(), 3);
    let other = store.another().await;
    let mut turns = Turns::new(&*other, Table::Outbox, 0);
    let mut taken = Vec::new();
    while turns.now < 10 {
        let given = turns.look("two", 100).await;
        assert!(given.is_empty() || turns.now >= 5, "{given:?} while the lease lasted, at {}", turns.now);
        taken.extend(given);
    }
    assert_eq!(sorted(&taken), ["a1", "a2", "n"], "ten seconds after the claim");
}

pub(super) async fn what_an_owner_hands_back_is_given_again(store: Bench) {
    keep_messages(&*store, ["a", "b", "c"].map(|name| message(name, None))).await;
    let stale = store.claim_outbox(request("one", 1, 1)).await.unwrap();
    let mut turns = Turns::new(&*store, Table::Outbox, 1);
    let theirs = turns.look("two", 1).await;
    store.release("another").await.unwrap();
    assert_eq!(store.counts().await.unwrap().claimed, 2, "neither of them was released");
    store.release("one").await.unwrap();
    assert_eq!(store.counts().await.unwrap().claimed, 1, "`two` is busy with its own");
    let given = turns.gather(&["three"], 2).await;
    assert_eq!(sorted(&given), ["a", "c"]);
    assert!(given.iter().all(|row| row.attempts == 0), "released rows were not attempted: {given:?}");
    for outcome in [dead(), OutboxOutcome::Published] {
        assert_eq!(settle(&*store, stale[0].claim, outcome).await, 0, "it was released, and is another's now");
    }
    for row in given.iter().chain(&theirs) {
        turns.end(&row.name).await;
    }
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

pub(super) async fn a_claim_ends_once(store: Bench) {
    keep_messages(&*store, ["a", "b"].map(|name| message(name, None))).await;
    let claimed = claim_messages(&*store, 1).await;
    end(&*store, &claimed[0], OutboxOutcome::Published).await;
    end(&*store, &claimed[1], retry(2)).await;
    for row in &claimed {
        assert_eq!(settle(&*store, row.claim, OutboxOutcome::Published).await, 0, "it was settled before");
    }
    assert_eq!(message_names(&claim_messages(&*store, 2).await), ["b"]);
}

pub(super) async fn thousands_are_stored_claimed_renewed_and_settled(store: Bench) {
    keep_messages(&*store, (0..5_000).map(|n| message(&n.to_string(), Some(&(n % 7).to_string())))).await;
    let claimed = store.claim_outbox(request("one", 1, 5_000)).await.unwrap();
    let expected: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
    assert_eq!(message_names(&claimed), expected);
    let claims: Vec<Claim> = claimed.iter().map(|row| row.claim).collect();
    assert_eq!(store.renew_outbox(claims, at(60)).await.unwrap().len(), 5_000);
    let outcomes = claimed.iter().map(|row| (row.claim, OutboxOutcome::Published)).collect();
    assert_eq!(store.settle_outbox(outcomes).await.unwrap(), 5_000);
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

/// Publishes a few rows at a time, by the clock on the wall, for as long as there are any.
async fn publish(store: Bench, owner: &'static str, published: Arc<Mutex<Vec<u32>>>) {
    while store.counts().await.unwrap().outbox > 0 {
        let now = SystemTime::now();
        let request = ClaimRequest { owner, now, lease_now: now, lease_until: now + LONG_LEASE, limit: 7 };
        let claimed = store.claim_outbox(request).await.unwrap();
        published.lock().unwrap().extend(claimed.iter().map(|row| row.record.name.parse::<u32>().unwrap()));
        let outcomes = claimed.iter().map(|row| (row.claim, OutboxOutcome::Published)).collect();
        let settled = store.settle_outbox(outcomes).await.unwrap();
        assert_eq!(settled, claimed.len() as u64, "`{owner}` settles what it was given");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(super) async fn instances_never_share_a_row(store: Bench) {
    keep_messages(&*store, (0..400).map(|n| message(&n.to_string(), Some(&(n % 40).to_string())))).await;
    let published = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for owner in ["one", "two", "three"] {
        tasks.push(tokio::spawn(publish(store.another().await, owner, Arc::clone(&published))));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut all = published.lock().unwrap().clone();
    assert_in_order(&all, 40);
    all.sort_unstable();
    assert_eq!(all, (0..400).collect::<Vec<u32>>(), "each row is published, and once");
}

pub(super) async fn what_is_behind_a_dead_row_comes_when_that_is_gone(store: Bench) {
    let rows = [("a1", Some("a")), ("a2", Some("a")), ("b1", Some("b")), ("n", None), ("a3", Some("a"))];
    keep_messages(&*store, rows.map(|(name, key)| message(name, key))).await;
    let first = store.claim_outbox(request("a", 1, 1)).await.unwrap();
    end(&*store, &first[0], dead()).await;
    assert_eq!(message_names(&claim_messages(&*store, 1).await), ["b1", "n"]);
    keep_messages(&*store, [message("a4", Some("a"))]).await;
    assert!(claim_messages(&*store, 1).await.is_empty());
    assert_eq!(store.counts().await.unwrap().outbox, 5, "what is held back is there");
    assert!(store.replay(store.dead_letters(9).await.unwrap()[0].id, at(2)).await.unwrap());
    let again = claim_messages(&*store, 2).await;
    assert_eq!(message_names(&again), ["a1", "a2", "a3", "a4"]);
    // Dead in the middle, it holds back what is behind it and nothing else.
    end(&*store, &again[0], OutboxOutcome::Published).await;
    end(&*store, &again[1], dead()).await;
    for row in &again[2..] {
        end(&*store, row, OutboxOutcome::HandBack).await;
    }
    assert!(claim_messages(&*store, 3).await.is_empty());
    assert_eq!(store.free_stranded().await.unwrap(), 0, "nobody has deleted anything by hand");
    assert!(store.discard(store.dead_letters(9).await.unwrap()[0].id).await.unwrap());
    assert_eq!(message_names(&claim_messages(&*store, 3).await), ["a3", "a4"]);
}

pub(super) async fn what_is_published_and_kept_is_out_of_the_way_until_it_is_purged(store: Bench) {
    keep_messages(&*store, ["a1", "a2", "a3"].map(|name| message(name, Some("a")))).await;
    keep_messages(&*store, [message("n", None)]).await;
    let claimed = claim_messages(&*store, 1).await;
    assert_eq!(message_names(&claimed), ["a1", "a2", "a3", "n"]);
    let kept = |seconds| OutboxOutcome::Kept { at: at(5), until: at(seconds) };
    // In one call with what is not kept, and what waits.
    let outcomes = [kept(10), OutboxOutcome::Published, retry(2), kept(20)];
    let outcomes = claimed.iter().map(|row| row.claim).zip(outcomes).collect();
    assert_eq!(store.settle_outbox(outcomes).await.unwrap(), 4);
    assert_eq!(store.counts().await.unwrap().outbox, 1, "what is kept does not count");
    let again = claim_messages(&*store, 3).await;
    assert_eq!(message_names(&again), ["a3"], "and holds back nothing");
    end(&*store, &again[0], kept(30)).await;
    assert_eq!(next_due(&*store).await, None);
    assert_eq!(settle(&*store, again[0].claim, kept(31)).await, 0, "it was settled before");
    for (seconds, purged) in [(9, 0), (20, 2), (29, 0), (30, 1), (60, 0)] {
        assert_eq!(store.purge_published(at(seconds)).await.unwrap(), purged, "at {seconds}");
    }
}
