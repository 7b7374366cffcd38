//! Idempotency keys: claimed, renewed, ended, freed, swept.

use std::time::Duration;

use uuid::Uuid;

use super::bench::{Bench, LEASE, SOON, at};
use crate::store::driver::{Driver, IdempotentRequest};
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

async fn claim(store: &dyn Driver, request: &IdempotentRequest) -> IdempotentOutcome {
    store.claim_idempotent(request.clone()).await.unwrap()
}

/// Ends a call, and commits where its claim still holds.
async fn finish_call(store: &dyn Driver, request: &IdempotentRequest, response: &str) -> bool {
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

/// Asks for a key whose lease has run out, every second from the given one on, until it is claimed.
async fn take_over(store: &dyn Driver, key: &str, payload: u8, from: u64) -> (IdempotentRequest, u64) {
    for seconds in from..from + 10 {
        let request = call(key, payload, seconds);
        match claim(store, &request).await {
            IdempotentOutcome::Claimed => return (request, seconds),
            IdempotentOutcome::Running | IdempotentOutcome::OtherPayload => {}
            outcome @ IdempotentOutcome::Done { .. } => panic!("nobody has done the call: {outcome:?}"),
        }
    }
    panic!("a key whose lease has run out is not taken over");
}

pub(super) async fn a_key_is_claimed_then_running_then_done(store: Bench) {
    let first = call("k", 1, 0);
    assert_eq!(claim(&*store, &first).await, IdempotentOutcome::Claimed);
    assert_eq!(claim(&*store, &call("k", 1, 1)).await, IdempotentOutcome::Running);
    assert_eq!(claim(&*store, &call("k", 2, 1)).await, IdempotentOutcome::OtherPayload);
    assert!(finish_call(&*store, &first, "7").await);
    assert_eq!(claim(&*store, &call("k", 1, 60)).await, done("7"));
    assert_eq!(claim(&*store, &call("k", 2, 60)).await, IdempotentOutcome::OtherPayload);
    assert!(!finish_call(&*store, &first, "8").await, "it is done");
    assert_eq!(claim(&*store, &call("k", 1, 60)).await, done("7"));
}

pub(super) async fn keys_are_told_apart_by_name_and_byte_by_byte(store: Bench) {
    let other = call("k", 1, 0);
    let other = IdempotentRequest { claim: IdempotentClaim { name: "refund".to_owned(), ..other.claim }, ..other };
    for request in [
        &call("k", 1, 0),
        &call("K", 1, 0),
        &call("k ", 1, 0),
        &call("ä", 1, 0),
        &call("a", 1, 0),
        &call("k\0", 1, 0),
        &call("k\0\0", 1, 0),
        &other,
    ] {
        let outcome = claim(&*store, request).await;
        assert_eq!(outcome, IdempotentOutcome::Claimed, "{:?} of `{}`", request.claim.key, request.claim.name);
    }
}

pub(super) async fn a_key_is_taken_over_and_its_first_owner_cannot_end_it(store: Bench) {
    let first = call("k", 1, 0);
    claim(&*store, &first).await;
    for seconds in [1, 4] {
        assert_eq!(claim(&*store, &call("k", 1, seconds)).await, IdempotentOutcome::Running, "its lease lasts");
    }
    let (second, when) = take_over(&*store, "k", 2, 5).await;
    assert!(when < 10, "taken over at {when}, whatever its payload: nothing was done");
    assert!(!finish_call(&*store, &first, "first").await);
    assert!(!store.renew_idempotent(first.claim.clone(), at(60)).await.unwrap());
    assert!(!store.free_idempotent(first.claim).await.unwrap());
    assert!(finish_call(&*store, &second, "second").await);
    assert_eq!(claim(&*store, &call("k", 2, when + 1)).await, done("second"));
}

pub(super) async fn a_key_is_renewed_for_as_long_as_the_call_runs(store: Bench) {
    let first = call("k", 1, 0);
    claim(&*store, &first).await;
    for seconds in [4, 8, 12, 16] {
        assert!(store.renew_idempotent(first.claim.clone(), at(seconds + 5)).await.unwrap());
        assert_eq!(claim(&*store, &call("k", 1, seconds + 4)).await, IdempotentOutcome::Running);
    }
    assert!(finish_call(&*store, &first, "1").await);
    assert!(!store.renew_idempotent(first.claim, at(99)).await.unwrap(), "there is nothing to renew");
}

pub(super) async fn an_owner_that_was_late_and_alone_may_end_its_call(store: Bench) {
    let (first, second) = (call("k", 1, 0), call("l", 1, 0));
    for request in [&first, &second] {
        claim(&*store, request).await;
    }
    assert!(store.renew_idempotent(first.claim.clone(), at(60)).await.unwrap());
    assert!(finish_call(&*store, &first, "1").await);
    let late = IdempotentRequest { lease_now: at(60), ..second };
    assert!(finish_call(&*store, &late, "2").await, "nobody came");
}

pub(super) async fn a_freed_key_is_as_if_it_had_never_been(store: Bench) {
    let first = call("k", 1, 0);
    claim(&*store, &first).await;
    assert!(store.free_idempotent(first.claim.clone()).await.unwrap());
    assert!(!store.free_idempotent(first.claim.clone()).await.unwrap());
    assert!(!finish_call(&*store, &first, "1").await);
    assert!(!store.renew_idempotent(first.claim, at(60)).await.unwrap());
    let second = call("k", 2, 0);
    assert_eq!(claim(&*store, &second).await, IdempotentOutcome::Claimed);
    assert!(finish_call(&*store, &second, "2").await);
    assert!(!store.free_idempotent(second.claim).await.unwrap(), "what was done stays");
    assert_eq!(claim(&*store, &call("k", 2, 0)).await, done("2"));
}

pub(super) async fn a_call_whose_unit_did_not_commit_is_not_done(store: Bench) {
    let first = call("k", 1, 0);
    claim(&*store, &first).await;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.finish_idempotent(first.claim.clone(), b"1".to_vec(), at(0)).await.unwrap());
    // Asked while the call's transaction is open: answered all the same.
    assert_eq!(claim(&*store, &call("k", 1, 1)).await, IdempotentOutcome::Running);
    assert_eq!(claim(&*store, &call("k", 2, 1)).await, IdempotentOutcome::OtherPayload);
    tx.rollback().await.unwrap();
    assert_eq!(claim(&*store, &call("k", 1, 1)).await, IdempotentOutcome::Running);
    assert!(store.free_idempotent(first.claim).await.unwrap());
}

pub(super) async fn freeing_a_key_waits_for_the_transaction_that_ends_its_call(store: Bench) {
    for commits in [true, false] {
        let first = call(&format!("{commits}"), 1, 0);
        claim(&*store, &first).await;
        let (other, freed) = (store.another().await, first.claim.clone());
        let mut tx = store.begin().await.unwrap();
        assert!(tx.finish_idempotent(first.claim, b"1".to_vec(), at(0)).await.unwrap());
        let freeing = tokio::spawn(async move { other.free_idempotent(freed).await.unwrap() });
        tokio::time::sleep(SOON).await;
        if commits {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        assert_eq!(freeing.await.unwrap(), !commits, "the call was done: {commits}");
    }
}

pub(super) async fn a_key_claimed_within_a_transaction_is_taken_by_its_commit(store: Bench) {
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
    }
    assert_eq!(claim(&*store, &call("k", 1, 60)).await, done("1"));
}

pub(super) async fn a_key_claimed_in_an_open_transaction_is_waited_for(store: Bench) {
    for commits in [false, true] {
        let (first, other) = (call("k", 1, 0), store.another().await);
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.claim_idempotent(first.clone()).await.unwrap(), IdempotentOutcome::Claimed);
        assert!(tx.finish_idempotent(first.claim, b"1".to_vec(), at(0)).await.unwrap());
        let asking = tokio::spawn(async move {
            let second = call("k", 1, 0);
            let outcome = claim(&*other, &second).await;
            (outcome, other.free_idempotent(second.claim).await.unwrap())
        });
        tokio::time::sleep(SOON).await;
        let expected = if commits {
            tx.commit().await.unwrap();
            (done("1"), false)
        } else {
            tx.rollback().await.unwrap();
            (IdempotentOutcome::Claimed, true)
        };
        assert_eq!(asking.await.unwrap(), expected, "the transaction was committed: {commits}");
    }
}

pub(super) async fn a_key_that_was_waited_for_is_held_from_when_it_was_given(store: Bench) {
    let (first, other) = (call("k", 1, 0), store.another().await);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.claim_idempotent(first).await.unwrap(), IdempotentOutcome::Claimed);
    let short = IdempotentRequest { lease_until: at(0) + SOON / 4, ..call("k", 1, 0) };
    let asking = tokio::spawn(async move { claim(&*other, &short).await });
    tokio::time::sleep(10 * SOON).await;
    tx.rollback().await.unwrap();
    assert_eq!(asking.await.unwrap(), IdempotentOutcome::Claimed);
    // It was waited for much longer than the lease lasts, which begins only now.
    let third = IdempotentRequest { lease_now: at(0) + SOON / 2, ..call("k", 1, 0) };
    assert_eq!(claim(&*store, &third).await, IdempotentOutcome::Running, "its lease had run out when it was given");
}

pub(super) async fn a_response_is_kept_as_long_as_asked_whether_it_is_swept_or_not(store: Bench) {
    let first = call("k", 1, 0);
    claim(&*store, &first).await;
    assert!(finish_call(&*store, &first, "1").await);
    assert_eq!(claim(&*store, &call("k", 1, DAY)).await, done("1"));
    let next = call("k", 2, DAY + 1);
    assert_eq!(claim(&*store, &next).await, IdempotentOutcome::Claimed);
    assert_eq!(claim(&*store, &call("k", 2, DAY + 1)).await, IdempotentOutcome::Running, "the old response is gone");
    assert!(finish_call(&*store, &next, "2").await);
    assert_eq!(claim(&*store, &call("k", 2, DAY + 2)).await, done("2"));
}

pub(super) async fn a_sweep_takes_what_nobody_asks_for_any_more(store: Bench) {
    // More than one statement may delete.
    for number in 0..250 {
        let request = call(&format!("done {number}"), 1, 0);
        claim(&*store, &request).await;
        assert!(finish_call(&*store, &request, "1").await);
    }
    let (young, running, left) = (call("young", 1, 10), call("running", 1, 10), call("left", 1, 0));
    for request in [&young, &running, &left] {
        claim(&*store, request).await;
    }
    assert!(finish_call(&*store, &young, "1").await);
    assert_eq!(store.purge_idempotent(at(0), at(0) + LEASE).await.unwrap(), 0, "the bounds are not among it");
    assert_eq!(store.purge_idempotent(at(10), at(10) + LEASE).await.unwrap(), 251);
    assert_eq!(claim(&*store, &call("young", 1, 11)).await, done("1"));
    assert_eq!(claim(&*store, &call("running", 1, 11)).await, IdempotentOutcome::Running);
    assert!(!finish_call(&*store, &left, "1").await);
}

pub(super) async fn of_many_at_once_one_has_the_key(store: Bench) {
    let stores = [store.clone(), store.another().await];
    let claims = (0..40).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move { claim(&*store, &call("k", 1, 0)).await })
    });
    let mut claimed = 0;
    for outcome in claims.collect::<Vec<_>>() {
        match outcome.await.unwrap() {
            IdempotentOutcome::Claimed => claimed += 1,
            outcome => assert_eq!(outcome, IdempotentOutcome::Running),
        }
    }
    assert_eq!(claimed, 1);
}
