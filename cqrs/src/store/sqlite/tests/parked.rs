//! Work that stands behind other work of its lane: in order, whatever happens, and no burden meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{Row, SqliteConnection};

use super::*;
use crate::store::OutboxOutcome;
use crate::store::claiming::{Request, Wanted};
use crate::store::sqlite::{leases, outbox, rows, work};

async fn states(store: &SqliteStore) -> Vec<String> {
    sqlx::query_scalar("SELECT state FROM cqrs_work ORDER BY seq").fetch_all(&store.pool).await.unwrap()
}

fn of_lane(names: impl IntoIterator<Item = &'static str>) -> Vec<WorkRecord> {
    names.into_iter().map(|name| piece(WorkKind::Durable, name, Some("a"))).collect()
}

/// A store with a dead row and so many of its lane behind it, after a poll has seen them.
async fn dead_with_behind(behind: usize) -> (Dir, SqliteStore) {
    let (dir, store) = fresh().await;
    keep_work(&store, of_lane(["head"])).await;
    let head = claim_work(&store, 1).await[0].claim;
    assert!(store.bury_work(head, "dead", false).await.unwrap());
    keep_work(&store, of_lane(std::iter::repeat_n("behind", behind))).await;
    assert!(claim_of(&store, &everything(), request("a", 2, 8)).await.unwrap().is_empty());
    (dir, store)
}

/// How many steps the database's machine takes for something: every row that a statement visits is some of them.
async fn counted(store: &SqliteStore, mut poll: impl AsyncFnMut(&mut SqliteConnection)) -> u64 {
    let mut connection = store.writer.acquire().await.unwrap();
    let steps = Arc::new(AtomicU64::new(0));
    let taken = Arc::clone(&steps);
    connection.lock_handle().await.unwrap().set_progress_handler(1, move || {
        taken.fetch_add(1, Ordering::SeqCst);
        true
    });
    // Preparing a statement takes steps as well: what counts is the second round.
    poll(&mut connection).await;
    steps.store(0, Ordering::SeqCst);
    poll(&mut connection).await;
    connection.lock_handle().await.unwrap().remove_progress_handler();
    steps.load(Ordering::SeqCst)
}

async fn steps_of_a_poll(store: &SqliteStore) -> u64 {
    let everything = everything();
    let wanted = Wanted::new(&[WorkShare { queues: &everything, limit: &|| 8 }], rows::queues);
    let asked = Request::new(&request("a", 3, 8));
    counted(store, async |connection| {
        let queues = wanted.queues.as_str();
        let anything = sqlx::query_scalar(work::STATEMENTS[0]).bind(asked.now).bind(asked.lease_now).bind(queues);
        let anything: bool = anything.fetch_one(&mut *connection).await.unwrap();
        assert!(!anything);
        let (claimed, more) = work::claim(connection, &wanted, &asked).await.unwrap();
        assert!(claimed.is_empty() && !more);
        let due: Option<i64> =
            sqlx::query_scalar(work::NEXT_DUE).bind(queues).fetch_one(&mut *connection).await.unwrap();
        assert_eq!(due, None);
    })
    .await
}

#[tokio::test]
async fn ten_thousand_parked_rows_do_not_slow_a_poll() {
    let (_few_dir, few) = dead_with_behind(3).await;
    let (_dir, many) = dead_with_behind(10_000).await;
    assert_eq!(number(&many.pool, "SELECT COUNT(*) FROM cqrs_work WHERE state = 'parked'").await, 10_000);
    let (few, many) = (steps_of_a_poll(&few).await, steps_of_a_poll(&many).await);
    assert!(few > 0 && many <= few + few / 10, "{few} steps with 3 parked rows, {many} with 10,000");
}

/// The same for the outbox.
async fn steps_of_a_look_at_the_outbox(behind: usize) -> u64 {
    let (_dir, store) = fresh().await;
    keep_messages(&store, [message("head", Some("k"))]).await;
    let head = store.claim_outbox(request("a", 1, 1)).await.unwrap()[0].claim;
    let dead = OutboxOutcome::Dead { error: "refused".to_owned() };
    store.settle_outbox(vec![(head, dead)]).await.unwrap();
    keep_messages(&store, (0..behind).map(|_| message("behind", Some("k")))).await;
    while number(&store.pool, "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'ready'").await > 0 {
        assert!(store.claim_outbox(request("a", 2, 1_000)).await.unwrap().is_empty());
    }
    counted(&store, async |connection| {
        let look = sqlx::query(leases::STATEMENTS[0]).bind(rows::micros(at(3)));
        let seen = look.fetch_one(&mut *connection).await.unwrap();
        assert_eq!((seen.get::<bool, _>("is_due"), seen.get::<bool, _>("is_ready")), (false, false));
        let read = sqlx::query(outbox::READ).bind(false).bind(0).bind(100).bind(1_000_000);
        let page = read.fetch_all(&mut *connection).await.unwrap();
        assert_eq!((page.len(), page[0].get::<Option<i64>, _>("seq")), (1, None));
        let next = sqlx::query(outbox::NEXT).bind(0).bind("me").fetch_all(&mut *connection).await.unwrap();
        assert_eq!((next.len(), next[0].get::<Option<i64>, _>("due_at")), (1, None));
    })
    .await
}

#[tokio::test]
async fn ten_thousand_events_behind_a_dead_one_do_not_slow_a_poll() {
    let (few, many) = (steps_of_a_look_at_the_outbox(3).await, steps_of_a_look_at_the_outbox(10_000).await);
    assert!(few > 0 && many <= few + few / 10, "{few} steps with 3 parked rows, {many} with 10,000");
}

#[tokio::test]
async fn whoever_ends_a_row_frees_the_next_and_only_that() {
    let (_dir, store) = fresh().await;
    keep_work(&store, of_lane(["1", "2", "3"])).await;
    let first = claim_work(&store, 1).await;
    assert_eq!(
        (work_names(&first), states(&store).await),
        (vec!["1"], ["claimed", "parked", "parked"].map(String::from).to_vec())
    );
    assert!(finish(&store, first[0].claim).await);
    assert_eq!(states(&store).await, ["ready", "parked"]);
    let second = claim_work(&store, 1).await;
    assert!(store.bury_work(second[0].claim, "skipped", true).await.unwrap());
    assert_eq!(states(&store).await, ["dead", "ready"]);
    assert_eq!(work_names(&claim_work(&store, 1).await), ["3"]);
    assert_eq!(store.counts().await.unwrap().work, 1);
}

#[tokio::test]
async fn a_crash_leaves_the_order_as_it_was() {
    let (dir, store) = fresh().await;
    keep_work(&store, of_lane(["1", "2", "3"])).await;
    let first = claim_work(&store, 1).await;
    // The unit of work never commits.
    let mut tx = store.begin().await.unwrap();
    assert!(tx.finish_work(first[0].claim).await.unwrap());
    drop(tx);
    drop(store);
    let store = dir.open().await;
    assert!(claim_work(&store, 2).await.is_empty(), "the lease has not run out");
    assert!(claim_work(&store, 6).await.is_empty(), "its owner may live");
    let again = claim_work(&store, 8).await;
    assert_eq!(work_names(&again), ["1"]);
    store.release("a").await.unwrap();
    let mut order = Vec::new();
    while let Some(work) = claim_work(&store, 9).await.pop() {
        order.push(work.record.name.clone());
        assert!(finish(&store, work.claim).await);
    }
    assert_eq!(order, ["1", "2", "3"]);
}

#[tokio::test]
async fn many_rows_of_one_lane_do_not_hide_what_is_behind_them() {
    let (_dir, store) = fresh().await;
    keep_work(&store, of_lane(std::iter::repeat_n("a", 2_500))).await;
    keep_work(&store, [piece(WorkKind::Durable, "b", Some("b")), piece(WorkKind::Durable, "c", None)]).await;
    let mut names = Vec::new();
    while names.len() < 3 {
        let claimed = claim_of(&store, &everything(), request("a", 1, 8)).await.unwrap();
        assert!(!claimed.is_empty());
        names.extend(claimed.into_iter().map(|work| work.record.name));
    }
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn what_was_deleted_by_hand_strands_nobody() {
    let (_dir, store) = dead_with_behind(2).await;
    assert_eq!(store.free_stranded().await.unwrap(), 0);
    sqlx::query("DELETE FROM cqrs_work WHERE state = 'dead'").execute(&store.pool).await.unwrap();
    assert!(claim_work(&store, 3).await.is_empty());
    assert_eq!(store.free_stranded().await.unwrap(), 1);
    assert_eq!(work_names(&claim_work(&store, 3).await), ["behind"]);
}
