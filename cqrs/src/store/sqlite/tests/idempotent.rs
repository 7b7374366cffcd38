//! Idempotency keys: claimed, renewed, ended, freed, swept.

use super::*;
use crate::store::driver::IdempotentRequest;
use crate::store::{IdempotentClaim, IdempotentOutcome};

const DAY: u64 = 24 * 3600;

/// A call of `pay` with a key, at some second: its lease is of almost five, responses are kept for a day.
fn call(key: &str, payload: u8, seconds: u64) -> IdempotentRequest {
    IdempotentRequest {
        claim: IdempotentClaim { name: "pay".to_owned(), key: key.to_owned(), token: Uuid::now_v7() },
        payload: [payload; 32],
        lease_now: at(seconds),
        lease_until: at(seconds) + LEASE,
        kept_since: at(seconds) - Duration::from_secs(DAY),
    }
}

async fn claim(store: &SqliteStore, request: &IdempotentRequest) -> IdempotentOutcome {
    store.claim_idempotent(request.clone()).await.unwrap()
}

/// Ends a call, and commits where its claim still holds.
async fn finish_call(store: &SqliteStore, request: &IdempotentRequest, response: &str) -> bool {
    let mut tx = store.begin().await.unwrap();
    let response = response.as_bytes().to_vec();
    let held = tx.finish_idempotent(request.claim.clone(), response, request.lease_now).await.unwrap();
    if held {
        tx.commit().await.unwrap();
    }
    held
}

fn done(response: &str) -> IdempotentOutcome {
    IdempotentOutcome::Done { response: response.as_bytes().to_vec() }
}

async fn rows(store: &SqliteStore) -> i64 {
    number(&store.pool, "SELECT COUNT(*) FROM cqrs_idempotent").await
}

#[tokio::test]
async fn a_key_whose_lease_ran_out_is_taken_over_and_its_first_owner_cannot_end_it() {
    let (_dir, store) = fresh().await;
    let (first, second) = (call("k", 1, 0), call("k", 2, 7));
    claim(&store, &first).await;
    assert_eq!(claim(&store, &call("k", 1, 4)).await, IdempotentOutcome::Running);
    // From here on it is doubted, for a third of a lease.
    assert_eq!(claim(&store, &call("k", 1, 5)).await, IdempotentOutcome::Running);
    assert_eq!(claim(&store, &call("k", 1, 6)).await, IdempotentOutcome::Running);
    assert_eq!(claim(&store, &second).await, IdempotentOutcome::Claimed, "whatever its payload: nothing was done");
    assert!(!finish_call(&store, &first, "first").await);
    assert!(!store.renew_idempotent(first.claim.clone(), at(60)).await.unwrap());
    assert!(!store.free_idempotent(first.claim).await.unwrap());
    assert!(finish_call(&store, &second, "second").await);
    assert_eq!(claim(&store, &call("k", 2, 8)).await, done("second"));
}

/// Others wrote for long, so that it could not renew its lease: whoever finds that gives it a chance, each time anew.
#[tokio::test]
async fn an_owner_that_renews_late_keeps_its_key() {
    let (_dir, store) = fresh().await;
    let first = call("k", 1, 0);
    claim(&store, &first).await;
    for seconds in [20, 40, 60] {
        assert_eq!(claim(&store, &call("k", 1, seconds)).await, IdempotentOutcome::Running, "{seconds}");
        assert_eq!(claim(&store, &call("k", 1, seconds + 1)).await, IdempotentOutcome::Running);
        assert!(store.renew_idempotent(first.claim.clone(), at(seconds + 6)).await.unwrap());
        assert_eq!(claim(&store, &call("k", 1, seconds + 5)).await, IdempotentOutcome::Running);
    }
    assert!(finish_call(&store, &first, "1").await);
}

/// Nobody renews it: it is doubted once, not again and again, and whoever asks every second has it within ten.
#[tokio::test]
async fn the_key_of_a_dead_process_is_free_within_ten_seconds() {
    let (_dir, store) = fresh().await;
    claim(&store, &call("k", 1, 0)).await;
    let mut taken = None;
    for seconds in 1..10 {
        if taken.is_none() && claim(&store, &call("k", 1, seconds)).await == IdempotentOutcome::Claimed {
            taken = Some(seconds);
        }
    }
    assert_eq!(taken, Some(7));
}

/// A transaction that is under way keeps the owner from renewing its lease.
#[tokio::test]
async fn within_a_transaction_no_key_is_taken_over() {
    let (_dir, store) = fresh().await;
    claim(&store, &call("k", 1, 0)).await;
    let lease = "SELECT lease_until FROM cqrs_idempotent";
    let before = number(&store.pool, lease).await;
    for doubted in [0, 1] {
        sqlx::query("UPDATE cqrs_idempotent SET doubted = ?").bind(doubted).execute(&store.writer).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.claim_idempotent(call("k", 1, DAY)).await.unwrap(), IdempotentOutcome::Running);
        assert_eq!(tx.claim_idempotent(call("k", 2, DAY)).await.unwrap(), IdempotentOutcome::OtherPayload);
        tx.commit().await.unwrap();
        assert_eq!(number(&store.pool, lease).await, before);
    }
}

/// A claim that had to wait for those who wrote has its whole lease from then on, and whom it doubts as long as ever.
#[tokio::test]
async fn a_claim_that_had_to_wait_for_its_turn_counts_from_there() {
    let (dir, store) = fresh().await;
    let other = dir.open().await;
    claim(&store, &call("left", 1, 0)).await;
    let writer = other.begin().await.unwrap();
    let (new, left) = (call("new", 1, 5), call("left", 1, 5));
    let (new, left, ()) = tokio::join!(claim(&store, &new), claim(&store, &left), async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        drop(writer);
    });
    assert_eq!((new, left), (IdempotentOutcome::Claimed, IdempotentOutcome::Running));
    let until = async |key| {
        let lease = format!("SELECT lease_until / 1000 FROM cqrs_idempotent WHERE idempotency_key = '{key}'");
        number(&store.pool, &lease).await - super::super::rows::micros(at(0)) / 1_000
    };
    let (new, left) = (until("new").await, until("left").await);
    assert!(new >= 5_000 + 4_900 + 1_500 && left >= 5_000 + 1_633 + 1_500, "{new}, {left}");
}

#[tokio::test]
async fn a_freed_key_is_as_if_it_had_never_been() {
    let (_dir, store) = fresh().await;
    let first = call("k", 1, 0);
    claim(&store, &first).await;
    assert!(store.free_idempotent(first.claim.clone()).await.unwrap());
    assert_eq!(rows(&store).await, 0);
    assert!(!finish_call(&store, &first, "1").await);
    let second = call("k", 2, 0);
    assert_eq!(claim(&store, &second).await, IdempotentOutcome::Claimed);
    assert!(finish_call(&store, &second, "2").await);
    assert!(!store.free_idempotent(second.claim).await.unwrap(), "what was done stays");
    assert_eq!(claim(&store, &call("k", 2, 0)).await, done("2"));
}

#[tokio::test]
async fn a_key_claimed_within_a_transaction_is_taken_by_its_commit() {
    let (_dir, store) = fresh().await;
    for commits in [false, true] {
        let mut tx = store.begin().await.unwrap();
        tx.savepoint().await.unwrap();
        let first = call("k", 1, 0);
        assert_eq!(tx.claim_idempotent(first.clone()).await.unwrap(), IdempotentOutcome::Claimed);
        assert_eq!(tx.claim_idempotent(call("k", 1, 0)).await.unwrap(), IdempotentOutcome::Running);
        assert!(tx.finish_idempotent(first.claim, b"1".to_vec(), at(0)).await.unwrap());
        assert_eq!(tx.claim_idempotent(call("k", 1, 1)).await.unwrap(), done("1"));
        assert_eq!(tx.claim_idempotent(call("k", 2, 1)).await.unwrap(), IdempotentOutcome::OtherPayload);
        if commits {
            tx.release_savepoint().await.unwrap();
        } else {
            tx.rollback_to_savepoint().await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(rows(&store).await, i64::from(commits));
    }
    assert_eq!(claim(&store, &call("k", 1, 60)).await, done("1"));
}

#[tokio::test]
async fn a_sweep_takes_what_nobody_asks_for_any_more() {
    let (_dir, store) = fresh().await;
    // More than one statement deletes.
    for number in 0..250 {
        let request = call(&format!("done {number}"), 1, 0);
        claim(&store, &request).await;
        assert!(finish_call(&store, &request, "1").await);
    }
    let (young, running, left) = (call("young", 1, 10), call("running", 1, 10), call("left", 1, 0));
    for request in [&young, &running, &left] {
        claim(&store, request).await;
    }
    assert!(finish_call(&store, &young, "1").await);
    assert_eq!(store.purge_idempotent(at(0), at(0) + LEASE).await.unwrap(), 0, "the bounds are not among it");
    assert_eq!(store.purge_idempotent(at(10), at(10) + LEASE).await.unwrap(), 251);
    assert_eq!(claim(&store, &call("young", 1, 11)).await, done("1"));
    assert_eq!(claim(&store, &call("running", 1, 11)).await, IdempotentOutcome::Running);
    assert!(!finish_call(&store, &left, "1").await);
    assert_eq!(rows(&store).await, 2);
}
