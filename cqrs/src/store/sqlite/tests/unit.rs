//! The unit of work's transaction: all or nothing, savepoints, the inbox.

use sqlx::Connection;

use super::*;
use crate::store::{InboxMark, StoreErrorKind};

async fn with_table() -> (Dir, SqliteStore) {
    let (dir, store) = fresh().await;
    sqlx::query("CREATE TABLE orders (id INTEGER PRIMARY KEY)").execute(&store.pool).await.unwrap();
    (dir, store)
}

async fn orders(store: &SqliteStore) -> i64 {
    number(&store.pool, "SELECT COUNT(*) FROM orders").await
}

fn mark(handler: &str, event_id: Uuid) -> InboxMark {
    InboxMark { group: "billing".to_owned(), handler: handler.to_owned(), event_id, at: at(1) }
}

fn everything() -> Vec<Record> {
    vec![
        Record::Outbox(message("placed", None)),
        Record::Work(piece(WorkKind::Durable, "mail", None)),
        Record::Work(timer("remind", "7", at(60))),
    ]
}

#[tokio::test]
async fn everything_commits_together() {
    let (_dir, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders DEFAULT VALUES").await.unwrap();
    tx.store(everything()).await.unwrap();
    tx.mark_handled(vec![mark("a", Uuid::now_v7())]).await.unwrap();
    tx.commit().await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.outbox, counts.work, counts.timers, counts.inbox, counts.dead), (1, 2, 1, 1, 0));
    assert_eq!(orders(&store).await, 1);
}

#[tokio::test]
async fn dropped_it_leaves_nothing_and_the_next_write_goes_through_at_once() {
    let (_dir, store) = with_table().await;
    for dropped in [true, false] {
        let mut tx = store.begin().await.unwrap();
        run(&mut tx, "INSERT INTO orders DEFAULT VALUES").await.unwrap();
        tx.store(everything()).await.unwrap();
        tx.mark_handled(vec![mark("a", Uuid::now_v7())]).await.unwrap();
        if dropped {
            drop(tx);
        } else {
            tx.rollback().await.unwrap();
        }
        let begun = std::time::Instant::now();
        store.begin().await.unwrap().commit().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(store.counts().await.unwrap(), crate::store::Counts::default());
        assert_eq!(orders(&store).await, 0);
    }
}

#[tokio::test]
async fn the_handle_goes_out_and_comes_back() {
    let (_dir, store) = with_table().await;
    let mut lent = store.begin().await.unwrap().into_any().downcast::<Tx<Sqlite>>().unwrap();
    sqlx::query("INSERT INTO orders DEFAULT VALUES").execute(&mut **lent).await.unwrap();
    let mut tx = store.adopt(lent).unwrap();
    assert!(tx.carried().is_some());
    tx.store(everything()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((orders(&store).await, store.counts().await.unwrap().outbox), (1, 1));
    assert!(store.adopt(Box::new(7_u8)).unwrap_err().is::<u8>());
}

#[tokio::test]
async fn a_savepoint_is_kept_or_undone() {
    let (_dir, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
    tx.savepoint().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (2)").await.unwrap();
    tx.store(everything()).await.unwrap();
    tx.rollback_to_savepoint().await.unwrap();
    tx.savepoint().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (3)").await.unwrap();
    tx.savepoint().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (4)").await.unwrap();
    assert!(tx.start_rollback_to_savepoint());
    tx.release_savepoint().await.unwrap();
    tx.store(vec![Record::Outbox(message("kept", None))]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(number(&store.pool, "SELECT SUM(id) FROM orders").await, 4);
    assert_eq!(store.counts().await.unwrap().outbox, 1);
}

#[tokio::test]
async fn savepoints_of_a_handler_and_ours_do_not_mix() {
    let (_dir, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    tx.savepoint().await.unwrap();
    let mut inner = (**handle(&mut tx)).begin().await.unwrap();
    sqlx::query("INSERT INTO orders VALUES (1)").execute(&mut *inner).await.unwrap();
    drop(inner);
    let mut inner = (**handle(&mut tx)).begin().await.unwrap();
    sqlx::query("INSERT INTO orders VALUES (2)").execute(&mut *inner).await.unwrap();
    inner.commit().await.unwrap();
    tx.release_savepoint().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(number(&store.pool, "SELECT SUM(id) FROM orders").await, 2);
}

#[tokio::test]
async fn there_is_no_ending_a_savepoint_that_was_not_begun() {
    let (_dir, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
    assert!(tx.release_savepoint().await.is_err());
    assert!(tx.rollback_to_savepoint().await.is_err());
    assert!(tx.start_rollback_to_savepoint());
    tx.commit().await.unwrap();
    assert_eq!(orders(&store).await, 1);
}

#[tokio::test]
async fn a_violated_constraint_says_so() {
    let (_dir, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
    let error: crate::StoreError = run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap_err().into();
    assert_eq!(error.kind(), StoreErrorKind::Constraint);
    let text = run(&mut tx, "INSERT INTO orders VALUES ('text')").await.unwrap_err();
    assert_ne!(crate::StoreError::from(text).kind(), StoreErrorKind::CommitUnknown);
}

#[tokio::test]
async fn a_commit_that_is_refused_leaves_nothing() {
    let (_dir, store) = with_table().await;
    sqlx::query("CREATE TABLE lines (o INTEGER REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED)")
        .execute(&store.pool)
        .await
        .unwrap();
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO lines VALUES (7)").await.unwrap();
    tx.store(everything()).await.unwrap();
    assert_eq!(tx.commit().await.unwrap_err().kind(), StoreErrorKind::Constraint);
    assert_eq!(store.counts().await.unwrap().outbox, 0);
    store.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn what_sqlite_rolls_back_by_itself_takes_our_rows_with_it() {
    let (_dir, store) = with_table().await;
    keep_work(&store, [piece(WorkKind::Durable, "a", None)]).await;
    let claim = claim_work(&store, 1).await[0].claim;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
    run(&mut tx, "INSERT OR ROLLBACK INTO orders VALUES (1)").await.unwrap_err();
    // A handler that goes on as if nothing had happened.
    assert!(tx.store(everything()).await.unwrap_err().to_string().contains("by itself"));
    assert!(tx.mark_handled(vec![mark("a", Uuid::now_v7())]).await.is_err());
    assert!(tx.finish_work(claim).await.is_err());
    assert!(tx.commit().await.is_err());
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.outbox, counts.work, counts.inbox, orders(&store).await), (0, 1, 0, 0));
    // sqlx believes that connection to be in a transaction for ever.
    let mut tx = store.begin().await.unwrap();
    tx.savepoint().await.unwrap();
    tx.rollback_to_savepoint().await.unwrap();
    tx.store(everything()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.counts().await.unwrap().outbox, 1);
}

/// Begins a savepoint as a handler does, and drops that call when it has been asked for.
async fn drop_a_savepoint_midway(tx: &mut Box<dyn Transaction>) {
    let mut beginning = Box::pin(handle(tx).savepoint());
    std::future::poll_fn(|context| {
        // Rarely it has begun already; then it is an ordinary savepoint that is dropped.
        let _ = beginning.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn a_unit_that_was_rolled_back_meanwhile_does_not_commit() {
    let (_dir, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
    run(&mut tx, "INSERT OR ROLLBACK INTO orders VALUES (1)").await.unwrap_err();
    let error = tx.commit().await.unwrap_err();
    assert!(error.to_string().contains("rolled this unit of work back"), "{error}");
    assert_eq!((error.kind(), orders(&store).await), (StoreErrorKind::Database, 0));
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
    run(&mut tx, "ROLLBACK").await.unwrap();
    assert!(tx.savepoint().await.is_err());
    assert!(tx.commit().await.is_err());
    keep(&store, everything()).await;
}

#[tokio::test]
async fn a_unit_whose_savepoint_was_dropped_midway_commits_all_or_fails() {
    let (_dir, store) = with_table().await;
    for _ in 0..20 {
        let mut tx = store.begin().await.unwrap();
        run(&mut tx, "INSERT INTO orders DEFAULT VALUES").await.unwrap();
        drop_a_savepoint_midway(&mut tx).await;
        let before = orders(&store).await;
        let committed = tx.commit().await.is_ok();
        assert_eq!(orders(&store).await, before + i64::from(committed));
    }
}

#[tokio::test]
async fn our_rows_are_not_stored_behind_a_savepoint_that_was_dropped_midway() {
    let (_dir, store) = with_table().await;
    for n in 0..20 {
        let mut tx = store.begin().await.unwrap();
        run(&mut tx, "INSERT INTO orders DEFAULT VALUES").await.unwrap();
        drop_a_savepoint_midway(&mut tx).await;
        let stored = tx.store(vec![Record::Outbox(message("placed", None))]).await;
        let committed = tx.commit().await;
        assert!(stored.is_ok() || committed.is_err(), "{n}");
        let rows = i64::try_from(store.counts().await.unwrap().outbox).unwrap();
        assert_eq!(orders(&store).await, rows, "{n}");
    }
}

#[tokio::test]
async fn a_savepoint_dropped_midway_within_ours_does_not_commit_the_unit_early() {
    let (_dir, store) = with_table().await;
    for _ in 0..20 {
        let mut tx = store.begin().await.unwrap();
        run(&mut tx, "INSERT INTO orders DEFAULT VALUES").await.unwrap();
        tx.savepoint().await.unwrap();
        drop_a_savepoint_midway(&mut tx).await;
        let _ = tx.release_savepoint().await;
        drop(tx);
        assert_eq!(orders(&store).await, 0);
    }
}

/// Asks for the release of the innermost savepoint, and gives up after so many polls. Whether it had to.
async fn release_midway(tx: &mut Box<dyn Transaction>, mut polls: usize) -> bool {
    let mut releasing = tx.release_savepoint();
    std::future::poll_fn(|context| {
        if polls == 0 {
            return std::task::Poll::Ready(true);
        }
        polls -= 1;
        releasing.as_mut().poll(context).map(|_| false)
    })
    .await
}

#[tokio::test]
async fn a_savepoint_around_one_whose_release_was_not_waited_for_is_undone_with_it() {
    let (_dir, store) = with_table().await;
    let mut midway = 0;
    for round in 0..60 {
        let mut tx = store.begin().await.unwrap();
        run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
        for insert in ["INSERT INTO orders VALUES (2)", "INSERT INTO orders VALUES (3)"] {
            tx.savepoint().await.unwrap();
            run(&mut tx, insert).await.unwrap();
        }
        // It asks how deep it is, and then for the release.
        if release_midway(&mut tx, 1 + round % 3).await {
            // As two calls do that are dropped together, the inner one first.
            if !tx.start_rollback_to_savepoint() {
                midway += 1;
            }
        }
        assert!(tx.start_rollback_to_savepoint());
        run(&mut tx, "INSERT INTO orders VALUES (4)").await.unwrap();
        assert_eq!(tx.store(vec![Record::Outbox(message("placed", None))]).await.unwrap().len(), 1);
        tx.commit().await.unwrap();
        assert_eq!(number(&store.pool, "SELECT SUM(id) FROM orders").await, 5);
        sqlx::query("DELETE FROM orders").execute(&store.pool).await.unwrap();
    }
    assert!(midway > 0);
}

/// Another process can write at once, with nobody taking the connection up again.
async fn assert_free(dir: &Dir, when: &str) {
    let settings = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.file()).busy_timeout(Duration::from_secs(10));
    let mut other = sqlx::ConnectOptions::connect(&settings).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap_or_else(|error| panic!("{when}: {error}"));
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_is_dropped_or_rolled_back_in_savepoints_lets_others_write() {
    for lent in [false, true] {
        let (dir, mut store) = with_table().await;
        if lent {
            let settings = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.file());
            let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_lazy_with(settings);
            store = SqliteStore::connect(Store::pool(pool)).await.unwrap();
        }
        for round in 0..20 {
            for end in ["dropped", "rolled back", "committed"] {
                let mut tx = store.begin().await.unwrap();
                run(&mut tx, "INSERT INTO orders DEFAULT VALUES").await.unwrap();
                tx.savepoint().await.unwrap();
                match round % 3 {
                    0 => drop(release_midway(&mut tx, 1 + round % 2).await),
                    1 => tx.savepoint().await.unwrap(),
                    _ => std::mem::forget((**handle(&mut tx)).begin().await.unwrap()),
                }
                match end {
                    "dropped" => drop(tx),
                    "rolled back" => tx.rollback().await.unwrap(),
                    _ => drop(tx.commit().await),
                }
                assert_free(&dir, &format!("{end}, round {round}, lent: {lent}")).await;
            }
        }
        let committed = orders(&store).await;
        assert!(committed <= 7, "{committed} of 7 whose savepoint was released");
    }
}

#[tokio::test]
async fn a_savepoint_that_was_dropped_or_leaked() {
    let (_dir, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
    drop((**handle(&mut tx)).begin().await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(orders(&store).await, 1);
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (2)").await.unwrap();
    std::mem::forget((**handle(&mut tx)).begin().await.unwrap());
    assert!(tx.commit().await.unwrap_err().to_string().contains("nothing was committed"));
    assert_eq!(orders(&store).await, 1);
}

#[tokio::test]
async fn the_users_pool_is_as_safe() {
    let dir = Dir::new();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.file()).create_if_missing(true);
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let store = SqliteStore::connect(Store::pool(pool)).await.unwrap();
    store.migrate().await.unwrap();
    sqlx::query("CREATE TABLE orders (id INTEGER PRIMARY KEY)").execute(&store.pool).await.unwrap();
    for _ in 0..3 {
        let mut tx = store.begin().await.unwrap();
        run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
        run(&mut tx, "INSERT OR ROLLBACK INTO orders VALUES (1)").await.unwrap_err();
        assert!(tx.store(everything()).await.is_err());
    }
    keep(&store, everything()).await;
    assert_eq!((orders(&store).await, store.counts().await.unwrap().outbox), (0, 1));
}

#[tokio::test]
async fn a_transaction_begun_by_hand_is_adopted_whatever_was_rolled_back_before() {
    let (_dir, store) = with_table().await;
    store.begin().await.unwrap().rollback().await.unwrap();
    let by_hand = Tx::<Sqlite>::begin(&store.pool).await.unwrap();
    let mut tx = store.adopt(Box::new(by_hand)).unwrap();
    tx.store(everything()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.counts().await.unwrap().outbox, 1);
}
