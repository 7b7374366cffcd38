//! A unit of work is all there or not at all, whatever the server does to its transaction.

use super::*;
use crate::store::begin::{begin, given_up_after};
use crate::store::{InboxMark, StoreErrorKind};

fn event() -> Record {
    Record::Outbox(message("placed", None))
}

/// Two transactions that wait for one another's row: the one that comes second to this is the server's victim.
async fn deadlock(store: &MySqlStore) -> (Box<dyn Transaction>, sqlx::Error) {
    run_on(store, "INSERT INTO orders (id, n) VALUES (1, 0), (2, 0), (3, 0)").await;
    let mut other = store.begin().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    // The victim is who has written less.
    run(&mut other, "UPDATE orders SET n = 1 WHERE id = 1; INSERT INTO orders (n) VALUES (7), (7), (7), (7)")
        .await
        .unwrap();
    run(&mut tx, "UPDATE orders SET n = 2 WHERE id = 2").await.unwrap();
    let waiting = tokio::spawn(async move {
        let waited = run(&mut other, "UPDATE orders SET n = 1 WHERE id = 2").await;
        waited.unwrap();
        other.rollback().await.unwrap();
    });
    let error = run(&mut tx, "UPDATE orders SET n = 2 WHERE id = 1").await.unwrap_err();
    waiting.await.unwrap();
    (tx, error)
}

#[tokio::test]
async fn a_deadlock_is_busy_and_a_handler_that_goes_on_commits_nothing_of_ours() {
    let (_place, store) = with_orders().await;
    let (mut tx, error) = deadlock(&store).await;
    let error = crate::StoreError::from(error);
    assert_eq!((error.kind(), error.is_retryable()), (StoreErrorKind::Busy, true), "{error:?}");
    // The handler takes no notice, and writes on outside of any transaction.
    run(&mut tx, "UPDATE orders SET n = 9 WHERE id = 3").await.unwrap();
    let error = tx.store(vec![event()]).await.unwrap_err();
    assert!(error.to_string().contains("ended this unit of work"), "{error}");
    assert!(tx.commit().await.is_err());
    assert_eq!(store.counts().await.unwrap().outbox, 0);
    assert_eq!(number(&store, "SELECT n FROM orders WHERE id = 2").await, 0);
}

#[tokio::test]
async fn a_unit_whose_transaction_is_gone_does_not_report_a_commit() {
    for sql in
        ["CREATE TABLE made (a INT)", "COMMIT", "ROLLBACK", "COMMIT; START TRANSACTION", "LOCK TABLES orders WRITE"]
    {
        for stores in [true, false] {
            let (_place, store) = with_orders().await;
            let mut tx = store.begin().await.unwrap();
            run(&mut tx, "INSERT INTO orders (n) VALUES (1)").await.unwrap();
            run(&mut tx, sql).await.unwrap();
            if stores {
                assert!(tx.store(vec![event()]).await.is_err(), "{sql}");
                assert!(tx.mark_handled(vec![mark(1)]).await.is_err(), "{sql}");
            }
            let error = tx.commit().await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Database, "{sql}: {error:?}");
            let counts = store.counts().await.unwrap();
            assert_eq!((counts.outbox, counts.inbox), (0, 0), "{sql}");
        }
    }
}

#[tokio::test]
async fn ddl_within_a_savepoint_is_noticed_too() {
    let (_place, store) = with_orders().await;
    let mut tx = store.begin().await.unwrap();
    tx.savepoint().await.unwrap();
    run(&mut tx, "CREATE TABLE made (a INT)").await.unwrap();
    assert!(tx.store(vec![event()]).await.is_err());
    assert!(tx.release_savepoint().await.is_err());
    assert!(tx.commit().await.is_err());
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

#[tokio::test]
async fn savepoints_of_ours_and_a_handlers_are_kept_or_undone_one_by_one() {
    let (_place, store) = with_orders().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders (id) VALUES (1)").await.unwrap();
    tx.savepoint().await.unwrap();
    run(&mut tx, "INSERT INTO orders (id) VALUES (2)").await.unwrap();
    let mut inner = handle(&mut tx).savepoint().await.unwrap();
    sqlx::query("INSERT INTO orders (id) VALUES (4)").execute(&mut *inner).await.unwrap();
    drop(inner);
    tx.store(vec![event()]).await.unwrap();
    tx.savepoint().await.unwrap();
    tx.store(vec![event()]).await.unwrap();
    tx.rollback_to_savepoint().await.unwrap();
    tx.release_savepoint().await.unwrap();
    tx.savepoint().await.unwrap();
    run(&mut tx, "INSERT INTO orders (id) VALUES (8)").await.unwrap();
    tx.store(vec![event()]).await.unwrap();
    tx.rollback_to_savepoint().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(number(&store, "SELECT CAST(SUM(id) AS SIGNED) FROM orders").await, 3);
    assert_eq!(store.counts().await.unwrap().outbox, 1);
}

#[tokio::test]
async fn a_transaction_begun_by_hand_is_adopted_and_watched() {
    let (_place, store) = with_orders().await;
    let by_hand = Tx::<MySql>::begin(&store.pool).await.unwrap();
    let mut tx = store.adopt(Box::new(by_hand)).unwrap();
    tx.store(vec![event()]).await.unwrap();
    run(&mut tx, "INSERT INTO orders (n) VALUES (1)").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((store.counts().await.unwrap().outbox, orders(&store).await), (1, 1));
    let mut by_hand = Tx::<MySql>::begin(&store.pool).await.unwrap();
    sqlx::raw_sql("CREATE TABLE made (a INT)").execute(&mut *by_hand).await.unwrap();
    let mut tx = store.adopt(Box::new(by_hand)).unwrap();
    assert!(tx.store(vec![event()]).await.is_err());
    assert_eq!(store.counts().await.unwrap().outbox, 1);
}

/// What a user has set for his connections stays as it is.
#[tokio::test]
async fn a_unit_reads_what_is_committed_and_leaves_the_connections_level_alone() {
    let (_place, store) = with_orders().await;
    let mut tx = store.begin().await.unwrap();
    let count = async |tx: &mut Box<dyn Transaction>| {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM orders").fetch_one(&mut **handle(tx)).await.unwrap();
        count
    };
    assert_eq!(count(&mut tx).await, 0);
    run_on(&store, "INSERT INTO orders (n) VALUES (1)").await;
    assert_eq!(count(&mut tx).await, 1, "the first statement does not decide what the others see");
    tx.commit().await.unwrap();
    for _ in 0..3 {
        let mut own = store.pool.begin().await.unwrap();
        let seen: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM orders").fetch_one(&mut *own).await.unwrap();
        run_on(&store, "INSERT INTO orders (n) VALUES (1)").await;
        let again: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM orders").fetch_one(&mut *own).await.unwrap();
        assert_eq!(seen, again, "a transaction of the user's own is REPEATABLE READ, as his server says");
    }
}

fn mark(n: u128) -> InboxMark {
    let event_id = Uuid::from_u128(n);
    InboxMark { group: "billing".to_owned(), handler: "bill".to_owned(), event_id, at: at(0) }
}

#[tokio::test]
async fn of_two_units_with_the_same_marks_the_first_to_commit_has_them() {
    let (_place, store) = fresh().await;
    let mut one = store.begin().await.unwrap();
    assert_eq!(one.mark_handled(vec![mark(1), mark(2)]).await.unwrap(), [true, true]);
    let mut two = store.begin().await.unwrap();
    let waiting = tokio::spawn(async move {
        // In another order, with one that is new: some of a statement's marks are there and some are not.
        let first = two.mark_handled(vec![mark(3), mark(2), mark(1), mark(3)]).await.unwrap();
        two.commit().await.unwrap();
        first
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished(), "whether they are new is not known yet");
    one.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap(), [true, false, false, false]);
    let mut three = store.begin().await.unwrap();
    three.mark_handled(vec![mark(4)]).await.unwrap();
    three.rollback().await.unwrap();
    let mut four = store.begin().await.unwrap();
    assert_eq!(four.mark_handled(vec![mark(4)]).await.unwrap(), [true], "its unit was rolled back");
}

/// Gives a statement up when it has been asked for, so many polls on.
async fn give_up(running: impl Future, mut polls: usize) -> bool {
    let mut running = std::pin::pin!(running);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return std::task::Poll::Ready(true);
        }
        polls -= 1;
        running.as_mut().poll(context).map(|_| false)
    })
    .await
}

/// sqlx may take the answer to one statement for that of the next: then the unit fails, and its connection is used no more.
#[tokio::test]
async fn a_statement_that_is_given_up_midway_costs_its_unit_and_nobody_elses() {
    let (_place, store) = with_orders().await;
    let (mut kept, mut failed) = (0, 0);
    for round in 0..60 {
        let mut tx = store.begin().await.unwrap();
        run(&mut tx, "INSERT INTO orders (n) VALUES (1)").await.unwrap();
        let polls = 1 + round % 3;
        match round % 4 {
            0 => drop(give_up(sqlx::query("SELECT SLEEP(0.001)").execute(&mut **handle(&mut tx)), polls).await),
            1 => drop(give_up(handle(&mut tx).savepoint(), polls).await),
            2 => drop(give_up(sqlx::Connection::ping(&mut **handle(&mut tx)), polls).await),
            _ => drop(give_up(tx.savepoint(), polls).await),
        }
        let stored = tx.store(vec![event()]).await;
        let committed = tx.commit().await;
        match (stored.is_ok(), committed.is_ok()) {
            (true, true) => kept += 1,
            (_, false) => failed += 1,
            (false, true) => panic!("{round}: what could not be stored was committed: {stored:?}"),
        }
        // Whoever comes next gets answers to his own questions.
        for n in 0..8 {
            let text = AssertSqlSafe(format!("SELECT {n}"));
            let answer: i64 = sqlx::query_scalar(text).fetch_one(&store.pool).await.unwrap();
            assert_eq!(answer, n, "{round}");
        }
        let rows = i64::try_from(store.counts().await.unwrap().outbox).unwrap();
        assert_eq!((orders(&store).await, rows), (kept, kept), "{round}");
    }
    assert!(kept > 0, "{failed} failed");
}

/// Between the handlers of a batch, which share a transaction.
#[tokio::test]
async fn a_batch_whose_transaction_was_ended_by_a_deadlock_is_told_so() {
    let (_place, store) = with_orders().await;
    let (mut tx, _) = deadlock(&store).await;
    for _ in 0..2 {
        let error = tx.check().await.unwrap_err();
        assert!(error.to_string().contains("ended this unit of work"), "{error}");
    }
    assert!(tx.savepoint().await.is_err());
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders (n) VALUES (1)").await.unwrap();
    tx.check().await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn where_many_messages_stand_is_a_question_or_two() {
    let (place, _) = fresh().await;
    let store = place.lent(1).await;
    let asked_about: Vec<_> = (0..200).map(|n| (mark(n), Some("lane".to_owned()))).collect();
    let before = asked(&store, "Com_select").await;
    assert_eq!(store.standings(asked_about).await.unwrap().len(), 200);
    let selects = asked(&store, "Com_select").await - before;
    assert!(selects < 10, "{selects} statements");
}

/// Whether a statement that is begun by the pool is in a transaction of its own.
async fn is_by_itself(store: &MySqlStore) -> bool {
    number(store, "SELECT CAST(@@in_transaction AS SIGNED)").await == 0
}

/// sqlx gives back a connection in a transaction where the future is dropped that begins it.
#[tokio::test]
async fn g7_a_begin_that_is_given_up_leaves_no_transaction_behind() {
    let (place, own) = with_orders().await;
    for store in [own, place.lent(1).await] {
        let slow =
            begin(store.sound_connection().await.unwrap(), "START TRANSACTION; DO SLEEP(0.05); SAVEPOINT unit_1");
        tokio::time::timeout(Duration::from_millis(10), slow).await.unwrap_err();
        assert!(is_by_itself(&store).await);
        for polls in 1..10 {
            drop(given_up_after(polls, store.begin()).await);
            assert!(is_by_itself(&store).await, "given up at poll {polls}");
        }
    }
}

#[tokio::test]
async fn g7_a_begin_of_a_handlers_own_that_is_given_up_is_part_of_nothing_else() {
    let (place, own) = with_orders().await;
    // Of a pool of the user's only a unit of work asks.
    for (store, is_own) in [(own, true), (place.lent(1).await, false)] {
        let slow = store.pool.begin_with("START TRANSACTION; DO SLEEP(0.05); SAVEPOINT unit_1");
        tokio::time::timeout(Duration::from_millis(10), slow).await.unwrap_err();
        assert_eq!(is_by_itself(&store).await, is_own);
        drop(store.begin().await.unwrap());
        assert!(is_by_itself(&store).await);
    }
}
