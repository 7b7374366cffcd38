//! What every store promises, and what is the memory store's own.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::MemoryStore;
use crate::store::driver::{BoxFuture, ClaimRequest, Driver, IdempotentRequest, Transaction, WorkShare};
use crate::store::{
    Claim, ClaimedWork, IdempotentClaim, IdempotentOutcome, Record, Store, StoreErrorKind, WorkKind, WorkQueue,
    WorkRecord,
};
use crate::testing::conformance::store::StoreFixture;

impl StoreFixture for MemoryStore {
    fn store(&self) -> BoxFuture<'_, Result<Store, crate::BoxError>> {
        Box::pin(std::future::ready(Ok(Store::driver(self.clone()))))
    }
}

mod conformance {
    crate::testing::store_conformance!(super::MemoryStore::new());
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn timer(key: &str, due: u64) -> Record {
    Record::Work(WorkRecord {
        id: Uuid::now_v7(),
        kind: WorkKind::Timer,
        handler: String::new(),
        group: String::new(),
        name: "remind".to_owned(),
        version: 1,
        topic: String::new(),
        key: None,
        lane: None,
        timer_key: Some(key.to_owned()),
        payload: Vec::new(),
        headers: BTreeMap::new(),
        created_at: at(0),
        due_at: at(due),
        attempts: 0,
        error: None,
        dead: false,
    })
}

async fn keep(store: &MemoryStore, record: Record) {
    let mut tx = store.begin().await.unwrap();
    tx.store(vec![record]).await.unwrap();
    tx.commit().await.unwrap();
}

async fn claim(store: &MemoryStore, seconds: u64) -> Vec<ClaimedWork> {
    let (now, queues) = (at(seconds), [WorkQueue::timers()]);
    let request = ClaimRequest { owner: "a", now, lease_now: now, lease_until: at(seconds + 5), limit: 9 };
    store.claim_work(&[WorkShare { queues: &queues, limit: &|| 9 }], request).await.unwrap()
}

#[tokio::test]
async fn each_url_is_a_store_of_its_own_and_clones_are_the_same() {
    let url = || Store::url("memory:");
    assert!(url().handle().unwrap().is_none() && url().gift_types().is_empty());
    let (one, another) = (url().connect().await.unwrap(), url().connect().await.unwrap());
    let mut tx = one.begin().await.unwrap();
    tx.store(vec![timer("k", 1)]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((one.name(), one.counts().await.unwrap().work, another.counts().await.unwrap().work), ("memory", 1, 0));
    let store = MemoryStore::new();
    keep(&store.clone(), timer("k", 1)).await;
    assert_eq!(store.counts().await.unwrap().work, 1);
}

#[tokio::test]
async fn it_has_no_tables_to_migrate() {
    let migrator = sqlx::migrate::Migrator::DEFAULT;
    let refused = Store::url("memory:").migrations(migrator).connect().await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Configuration);
    assert!(refused.to_string().contains("it has no tables"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_too_long_is_told_so() {
    let store = MemoryStore::new();
    let open = store.begin().await.unwrap();
    let refused = store.begin().await.unwrap_err();
    assert_eq!((refused.kind(), refused.is_retryable()), (StoreErrorKind::Busy, true));
    drop(open);
    store.begin().await.unwrap();
}

#[tokio::test]
async fn claims_and_settlements_do_not_wait_for_an_open_transaction() {
    let store = MemoryStore::new();
    keep(&store, timer("k", 1)).await;
    let _open = store.begin().await.unwrap();
    let claimed = claim(&store, 1).await;
    assert_eq!(store.renew_work(vec![claimed[0].claim], at(60)).await.unwrap().len(), 1);
    assert!(store.retry_work(claimed[0].claim, at(9), "away").await.unwrap());
}

/// Whether something is answered only when a transaction has ended, and what is answered then.
async fn answered_after<T: Send + 'static>(
    tx: Box<dyn Transaction>,
    commits: bool,
    ask: impl Future<Output = T> + Send + 'static,
) -> T {
    let asking = tokio::spawn(ask);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!asking.is_finished(), "it was answered while nobody could know");
    if commits {
        tx.commit().await.unwrap();
    } else {
        tx.rollback().await.unwrap();
    }
    asking.await.unwrap()
}

async fn finishing(store: &MemoryStore) -> (Box<dyn Transaction>, Claim) {
    keep(store, timer(&Uuid::now_v7().to_string(), 1)).await;
    let claim = claim(store, 1).await[0].claim;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.finish_work(claim).await.unwrap());
    (tx, claim)
}

#[tokio::test]
async fn work_that_an_open_transaction_has_finished_is_neither_lost_nor_ended_by_others() {
    let store = MemoryStore::new();
    for commits in [true, false] {
        let ((tx, held), asked) = (finishing(&store).await, store.clone());
        assert!(claim(&store, 500).await.is_empty(), "its lease has run out, and its end is on the way");
        assert_eq!(
            answered_after(tx, commits, async move { asked.retry_work(held, at(900), "").await.unwrap() }).await,
            !commits
        );
        let ((tx, held), asked) = (finishing(&store).await, store.clone());
        let renewed =
            answered_after(tx, commits, async move { asked.renew_work(vec![held], at(9)).await.unwrap() }).await;
        assert_eq!(renewed.len(), usize::from(!commits));
        let ((tx, _), asked) = (finishing(&store).await, store.clone());
        answered_after(tx, commits, async move { asked.release("a").await.unwrap() }).await;
        assert_eq!(store.counts().await.unwrap().claimed, 0);
        let left = claim(&store, 500).await;
        for work in left {
            let mut tx = store.begin().await.unwrap();
            assert!(tx.finish_work(work.claim).await.unwrap());
            tx.commit().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_timer_that_an_open_transaction_moves_is_not_cancelled_meanwhile() {
    for commits in [true, false] {
        let store = MemoryStore::new();
        keep(&store, timer("k", 1)).await;
        let mut tx = store.begin().await.unwrap();
        tx.store(vec![timer("k", 60)]).await.unwrap();
        assert!(claim(&store, 1).await.is_empty(), "it may have moved");
        let asked = store.clone();
        assert!(answered_after(tx, commits, async move { asked.cancel_timer("remind", "k").await.unwrap() }).await);
        assert!(store.timers(9).await.unwrap().is_empty());
    }
}

/// The lease of a key counts from when it is claimed, not from when it was asked for.
#[tokio::test]
async fn a_key_that_was_waited_for_has_its_whole_lease() {
    let store = MemoryStore::new();
    let call = |seconds| IdempotentRequest {
        claim: IdempotentClaim { name: "pay".to_owned(), key: "k".to_owned(), token: Uuid::now_v7() },
        payload: [1; 32],
        lease_now: at(seconds),
        lease_until: at(seconds + 5),
        kept_since: at(0),
    };
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.claim_idempotent(call(1)).await.unwrap(), IdempotentOutcome::Claimed);
    let asked = store.clone();
    let waiting = async move { asked.claim_idempotent(call(1)).await.unwrap() };
    let asking = tokio::spawn(waiting);
    tokio::time::sleep(Duration::from_millis(50)).await;
    tx.rollback().await.unwrap();
    assert_eq!(asking.await.unwrap(), IdempotentOutcome::Claimed);
    let at_its_end = IdempotentRequest { lease_now: at(6), ..call(6) };
    assert_eq!(store.claim_idempotent(at_its_end).await.unwrap(), IdempotentOutcome::Running, "it has waited a while");
    assert_eq!(store.claim_idempotent(call(16)).await.unwrap(), IdempotentOutcome::Claimed);
}
