//! What becomes of a key, by how the commit of its call ends.

use std::path::PathBuf;

use super::*;
use crate::Builder;
use crate::store::Store;

/// An app on a file, which goes with the test.
struct Place {
    directory: PathBuf,
    app: App,
}

impl Place {
    async fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("cqrs-idempotent-{}", Uuid::now_v7()));
        std::fs::create_dir(&directory).unwrap();
        let url = format!("sqlite://{}", directory.join("app.db").display());
        Self { app: Builder::linked(&[]).store(Store::url(url)).await.unwrap(), directory }
    }

    /// Claims a key, as a call does before its handler runs.
    async fn held(&self) -> HeldKey {
        let request = self.request();
        let claim = request.claim.clone();
        assert_eq!(self.ask(request).await, IdempotentOutcome::Claimed);
        HeldKey { app: self.app.clone(), claim: Some(claim) }
    }

    fn request(&self) -> IdempotentRequest {
        let now = self.app.clock().lease_now();
        let claim = IdempotentClaim { name: "pay".to_owned(), key: "k".to_owned(), token: Uuid::now_v7() };
        let (lease_until, kept_since) = (now + Duration::from_mins(1), SystemTime::UNIX_EPOCH);
        IdempotentRequest { claim, payload: [0; 32], lease_now: now, lease_until, kept_since }
    }

    async fn ask(&self, request: IdempotentRequest) -> IdempotentOutcome {
        self.app.store().unwrap().claim_idempotent(request).await.unwrap()
    }

    /// Whether the key is free once everything in the background has ended.
    async fn is_free(&self) -> bool {
        self.app.tracker().close();
        self.app.tracker().wait().await;
        self.app.tracker().reopen();
        self.ask(self.request()).await == IdempotentOutcome::Claimed
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn failed(kind: StoreErrorKind) -> Failure {
    StoreError::new(kind, "made to fail").into()
}

async fn is_free_after(end: Result<(), Failure>) -> bool {
    let place = Place::new().await;
    let key = place.held().await;
    let is_ok = end.is_ok();
    assert_eq!(key.through(std::future::ready(end)).await.is_ok(), is_ok);
    place.is_free().await
}

#[tokio::test]
async fn a_commit_that_was_refused_frees_the_key() {
    for kind in [StoreErrorKind::Busy, StoreErrorKind::Constraint, StoreErrorKind::Unavailable] {
        assert!(is_free_after(Err(failed(kind))).await, "{kind:?}");
    }
}

/// It may have happened: the row will tell, and a key that was freed would let the call run once more.
#[tokio::test]
async fn a_commit_whose_answer_was_lost_leaves_the_key() {
    assert!(!is_free_after(Err(failed(StoreErrorKind::CommitUnknown))).await);
}

#[tokio::test]
async fn a_commit_leaves_the_key_whatever_follows_it() {
    let event_failed = Failure::EventFailed { event: "paid", handler: "mail", source: "made to fail".into() };
    let too_deep = Failure::EventDepth { limit: 64, cycle: "paid".to_owned() };
    for end in [Ok(()), Err(event_failed), Err(too_deep)] {
        assert!(!is_free_after(end).await);
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_frees_its_key_in_the_background() {
    let place = Place::new().await;
    drop(place.held().await);
    assert!(place.is_free().await);

    let place = Place::new().await;
    let key = place.held().await;
    let mut rest = Box::pin(key.through(std::future::pending()));
    assert!(futures_util::poll!(&mut rest).is_pending());
    drop(rest);
    assert!(place.is_free().await);
}

/// The lease that was lost is another call's by now.
#[tokio::test]
async fn a_key_that_was_lost_is_not_freed() {
    let place = Place::new().await;
    let mut key = place.held().await;
    if let Some(claim) = key.claim.as_mut() {
        claim.token = Uuid::now_v7();
    }
    key.keep().await;
    drop(key);
    assert!(!place.is_free().await);
}
