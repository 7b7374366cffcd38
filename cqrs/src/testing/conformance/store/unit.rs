//! The unit of work's transaction: all or nothing, savepoints.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use uuid::Uuid;

use super::bench::{Bench, at, claim_messages, claim_work, finish, keep_work, mark, message, piece, timer};
use crate::store::driver::{BoxFuture, Driver, Transaction};
use crate::store::{Counts, Record, StoreError, WorkKind};

fn some_of_all() -> Vec<Record> {
    vec![
        Record::Outbox(message("placed", None)),
        Record::Work(piece(WorkKind::Durable, "mail", None)),
        Record::Work(timer("remind", "7", at(60))),
    ]
}

fn event(name: &str) -> Vec<Record> {
    vec![Record::Outbox(message(name, None))]
}

/// The names of the outbox rows there are.
async fn stored(store: &dyn Driver) -> Vec<String> {
    let claimed = claim_messages(store, 1).await;
    claimed.into_iter().map(|row| row.record.name).collect()
}

pub(super) async fn everything_commits_together(store: Bench) {
    keep_work(&*store, [piece(WorkKind::Durable, "done", None)]).await;
    let claim = claim_work(&*store, 1).await[0].claim;
    let before = store.counts().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.store(some_of_all()).await.unwrap();
    assert_eq!(tx.mark_handled(vec![mark("a", Uuid::now_v7())]).await.unwrap(), [true]);
    assert!(tx.finish_work(claim).await.unwrap());
    assert_eq!(store.counts().await.unwrap(), before, "it is not committed");
    assert!(claim_messages(&*store, 1).await.is_empty(), "nobody is given what is not committed");
    assert!(store.timers(9).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.outbox, counts.work, counts.timers, counts.inbox, counts.dead), (1, 2, 1, 1, 0));
    assert_eq!(counts.claimed, 0);
}

pub(super) async fn a_unit_that_does_not_commit_leaves_nothing(store: Bench) {
    for dropped in [true, false] {
        let mut tx = store.begin().await.unwrap();
        tx.store(some_of_all()).await.unwrap();
        tx.mark_handled(vec![mark("a", Uuid::now_v7())]).await.unwrap();
        tx.savepoint().await.unwrap();
        tx.store(some_of_all()).await.unwrap();
        if dropped {
            drop(tx);
        } else {
            tx.rollback().await.unwrap();
        }
        store.begin().await.unwrap().commit().await.unwrap();
        assert_eq!(store.counts().await.unwrap(), Counts::default(), "dropped: {dropped}");
    }
}

pub(super) async fn units_begin_one_after_another_in_any_number(store: Bench) {
    for n in 0..50 {
        let mut tx = store.begin().await.unwrap();
        tx.store(event(&n.to_string())).await.unwrap();
        match n % 3 {
            0 => tx.commit().await.unwrap(),
            1 => tx.rollback().await.unwrap(),
            _ => drop(tx),
        }
    }
    assert_eq!(store.counts().await.unwrap().outbox, 17);
}

pub(super) async fn a_transaction_goes_out_and_comes_back(store: Bench) {
    let mut tx = store.begin().await.unwrap();
    tx.store(event("before")).await.unwrap();
    let lent = tx.into_any();
    let Ok(mut tx) = store.adopt(lent) else { panic!("`adopt` refuses what `into_any` has given") };
    tx.store(event("after")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(stored(&*store).await, ["before", "after"]);
    let foreign = store.adopt(Box::new(7_u8)).err();
    assert!(foreign.is_some_and(|handle| handle.is::<u8>()), "`adopt` gives back what is none of its own");
}

pub(super) async fn what_it_lends_to_handlers_is_what_it_says(store: Bench) {
    let mut tx = store.begin().await.unwrap();
    let lent = tx.handle().map(|handle| (*handle).type_id());
    assert_eq!(lent, store.handle().map(|spec| spec.type_id), "`Driver::handle` and `Transaction::handle` differ");
    tx.rollback().await.unwrap();
}

pub(super) async fn a_savepoint_is_kept_or_undone(store: Bench) {
    let marked = mark("a", Uuid::now_v7());
    keep_work(&*store, [piece(WorkKind::Durable, "done", None)]).await;
    let claim = claim_work(&*store, 1).await[0].claim;
    let mut tx = store.begin().await.unwrap();
    tx.store(event("1")).await.unwrap();
    tx.savepoint().await.unwrap();
    tx.store(event("undone")).await.unwrap();
    tx.mark_handled(vec![marked.clone()]).await.unwrap();
    assert!(tx.finish_work(claim).await.unwrap());
    tx.rollback_to_savepoint().await.unwrap();
    assert_eq!(tx.mark_handled(vec![marked]).await.unwrap(), [true], "the mark was undone");
    tx.savepoint().await.unwrap();
    tx.store(event("2")).await.unwrap();
    tx.savepoint().await.unwrap();
    tx.store(event("undone")).await.unwrap();
    assert!(tx.start_rollback_to_savepoint());
    tx.release_savepoint().await.unwrap();
    tx.store(event("3")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(stored(&*store).await, ["1", "2", "3"]);
    assert!(finish(&*store, claim).await, "its end was undone");
    assert_eq!(store.counts().await.unwrap().inbox, 1);
}

pub(super) async fn a_savepoint_is_undone_with_those_within_it(store: Bench) {
    let mut tx = store.begin().await.unwrap();
    tx.store(event("1")).await.unwrap();
    tx.savepoint().await.unwrap();
    tx.store(event("outer")).await.unwrap();
    tx.savepoint().await.unwrap();
    tx.store(event("inner")).await.unwrap();
    tx.release_savepoint().await.unwrap();
    tx.rollback_to_savepoint().await.unwrap();
    tx.savepoint().await.unwrap();
    tx.store(event("2")).await.unwrap();
    tx.release_savepoint().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(stored(&*store).await, ["1", "2"]);
}

pub(super) async fn there_is_no_ending_a_savepoint_that_was_not_begun(store: Bench) {
    let mut tx = store.begin().await.unwrap();
    tx.store(event("1")).await.unwrap();
    assert!(tx.release_savepoint().await.is_err());
    assert!(tx.rollback_to_savepoint().await.is_err());
    assert!(tx.start_rollback_to_savepoint(), "there is nothing to undo, and nothing in doubt");
    tx.commit().await.unwrap();
    assert_eq!(stored(&*store).await, ["1"]);
}

/// Polls a call so many times, and gives it up. Whether it had to.
async fn give_up_after(mut polls: usize, mut call: BoxFuture<'_, Result<(), StoreError>>) -> bool {
    poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(true);
        }
        polls -= 1;
        call.as_mut().poll(context).map(|_| false)
    })
    .await
}

pub(super) async fn a_savepoint_given_up_while_it_begins_does_no_harm(store: Bench) {
    for round in 0..30 {
        let before = store.counts().await.unwrap().outbox;
        let mut tx = store.begin().await.unwrap();
        tx.store(event("first")).await.unwrap();
        give_up_after(round % 3, tx.savepoint()).await;
        let second = tx.store(event("second")).await;
        let committed = tx.commit().await;
        let rows = store.counts().await.unwrap().outbox - before;
        let expected = match (&committed, &second) {
            (Err(_), _) => 0,
            (Ok(()), Err(_)) => 1,
            (Ok(()), Ok(_)) => 2,
        };
        assert_eq!(rows, expected, "round {round}: {second:?}, {committed:?}");
    }
}

/// What is asked for by dropping calls: the inner one while its savepoint's release is under way, and then the outer.
async fn undo_both(tx: &mut Box<dyn Transaction>, polls: usize) {
    let given_up = give_up_after(polls, tx.release_savepoint()).await;
    if given_up {
        // Released or not, it goes with the one around it.
        let _ = tx.start_rollback_to_savepoint();
    }
    assert!(tx.start_rollback_to_savepoint(), "nobody has asked for the release of the outer savepoint");
}

/// A store that cannot tell any more where the connection is may fail the unit instead: all of it, then.
pub(super) async fn a_savepoint_around_one_whose_release_was_given_up_is_undone_with_it(store: Bench) {
    let mut done = 0;
    for round in 0..30 {
        let before = store.counts().await.unwrap().outbox;
        let mut tx = store.begin().await.unwrap();
        tx.store(event("kept")).await.unwrap();
        for name in ["outer", "inner"] {
            tx.savepoint().await.unwrap();
            tx.store(event(name)).await.unwrap();
        }
        undo_both(&mut tx, round % 4).await;
        let stored = tx.store(event("kept, too")).await;
        let committed = tx.commit().await;
        let rows = store.counts().await.unwrap().outbox - before;
        let expected = if stored.is_ok() && committed.is_ok() { 2 } else { 0 };
        assert_eq!(rows, expected, "round {round}: {stored:?}, {committed:?}");
        done += u32::from(expected == 2);
    }
    assert!(done > 0, "no unit could go on after a savepoint whose release was given up");
}

pub(super) async fn a_unit_dropped_within_savepoints_lets_others_write(store: Bench) {
    let other = store.another().await;
    for round in 0..12 {
        let mut tx = store.begin().await.unwrap();
        tx.store(some_of_all()).await.unwrap();
        tx.savepoint().await.unwrap();
        tx.store(some_of_all()).await.unwrap();
        give_up_after(round % 3, tx.release_savepoint()).await;
        if round % 2 == 0 {
            drop(tx);
        } else {
            tx.rollback().await.unwrap();
        }
        let next = tokio::time::timeout(Duration::from_secs(30), other.begin()).await;
        let Ok(next) = next else { panic!("round {round}: what was dropped keeps others from writing") };
        next.unwrap().commit().await.unwrap();
        assert_eq!(other.counts().await.unwrap(), Counts::default(), "round {round}");
    }
}
