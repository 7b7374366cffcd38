//! The unit of work's transaction: what is PostgreSQL's own.

use super::*;
use crate::store::begin::{begin, given_up_after};
use crate::store::{InboxMark, StoreErrorKind};

async fn with_table() -> (Schema, PostgresStore) {
    let (schema, store) = fresh().await;
    run_sql(&store.pool, "CREATE TABLE orders (id INT PRIMARY KEY)").await;
    (schema, store)
}

async fn orders(store: &PostgresStore) -> i64 {
    number(&store.pool, "SELECT COUNT(*) FROM orders").await
}

fn event() -> Vec<Record> {
    vec![Record::Outbox(message("placed", None))]
}

/// PostgreSQL answers `COMMIT` with `ROLLBACK`, and sqlx takes it for a success.
#[tokio::test]
async fn g7_a_unit_whose_failed_statement_was_ignored_is_not_committed() {
    let (_schema, store) = with_table().await;
    for stores in [false, true] {
        let mut tx = store.begin().await.unwrap();
        run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
        run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap_err();
        let end = if stores { tx.store(event()).await.map(drop) } else { tx.commit().await };
        let error = end.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Database);
        assert!(error.to_string().contains("nothing was committed"), "{error}");
        assert_eq!((orders(&store).await, store.counts().await.unwrap().outbox), (0, 0));
    }
}

#[tokio::test]
async fn g7_a_statement_that_fails_between_what_is_stored_and_the_commit_is_noticed() {
    let (_schema, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    tx.store(event()).await.unwrap();
    let mark = InboxMark { group: "g".to_owned(), handler: "h".to_owned(), event_id: Uuid::now_v7(), at: at(1) };
    assert_eq!(tx.mark_handled(vec![mark]).await.unwrap(), [true]);
    run(&mut tx, "SELECT 1 / 0").await.unwrap_err();
    assert!(tx.commit().await.unwrap_err().to_string().contains("a statement of this unit of work failed"));
    assert_eq!(store.counts().await.unwrap(), crate::store::Counts::default());
}

#[tokio::test]
async fn what_fails_within_a_savepoint_harms_nobody() {
    let (_schema, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
    {
        let mut savepoint = handle(&mut tx).savepoint().await.unwrap();
        sqlx::query("INSERT INTO orders VALUES (1)").execute(&mut *savepoint).await.unwrap_err();
    }
    tx.store(event()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((orders(&store).await, store.counts().await.unwrap().outbox), (1, 1));
}

/// Whatever the database's default is: a snapshot of the transaction's begin would not see who was waited for.
#[tokio::test]
async fn units_are_read_committed_whatever_the_default() {
    let (_schema, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    let level: String =
        sqlx::query_scalar("SHOW transaction_isolation").fetch_one(&mut **handle(&mut tx)).await.unwrap();
    assert_eq!(level, "read committed");
}

/// All rows of a kind go in one statement, whose text stays the same and so stays prepared. One event has a statement of its own.
#[tokio::test]
async fn statements_stay_prepared_whatever_the_number_of_rows() {
    use sqlx::Connection;

    let (_schema, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    tx.store(event()).await.unwrap();
    tx.store(event().into_iter().chain(event()).collect()).await.unwrap();
    let prepared = handle(&mut tx).cached_statements_size();
    for count in [1, 2, 3, 50, 1_000] {
        tx.store((0..count).flat_map(|_| event()).collect()).await.unwrap();
    }
    assert_eq!(handle(&mut tx).cached_statements_size(), prepared);
    tx.commit().await.unwrap();
    assert_eq!(store.counts().await.unwrap().outbox, 1_059);
}

#[tokio::test]
async fn two_units_that_store_the_same_timer_leave_one() {
    use crate::store::WorkKind;

    let (_schema, store) = fresh().await;
    let timer = || {
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
            timer_key: Some("7".to_owned()),
            payload: Vec::new(),
            headers: BTreeMap::new(),
            created_at: at(0),
            due_at: at(60),
            attempts: 0,
            error: None,
            dead: false,
        })
    };
    let (mut first, mut second) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    let kept = first.store(vec![timer()]).await.unwrap();
    let waiting = async {
        let ids = second.store(vec![timer()]).await.unwrap();
        second.commit().await.unwrap();
        ids
    };
    let (ids, ()) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        first.commit().await.unwrap();
    });
    assert_eq!(ids, kept, "it is the same timer");
    assert_eq!(store.timers(9).await.unwrap().len(), 1);
}

/// A key of `WorkQueue` and `WorkShare`: two claims side by side find different work, and the order of a lane is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_side_by_side_never_share_and_keep_every_lane() {
    let (_schema, store) = fresh().await;
    let queues = [WorkQueue::durable("h")];
    let piece = |n: u32| {
        let lane = Some(format!("lane-{}", n % 7));
        Record::Work(WorkRecord {
            id: Uuid::now_v7(),
            kind: WorkKind::Durable,
            handler: "h".to_owned(),
            group: String::new(),
            name: n.to_string(),
            version: 1,
            topic: String::new(),
            key: lane.clone(),
            lane,
            timer_key: None,
            payload: Vec::new(),
            headers: BTreeMap::new(),
            created_at: at(0),
            due_at: at(0),
            attempts: 0,
            error: None,
            dead: false,
        })
    };
    let mut tx = store.begin().await.unwrap();
    tx.store((0..140).map(piece).collect()).await.unwrap();
    tx.commit().await.unwrap();
    let (store, done) = (&store, &std::sync::Mutex::new(Vec::new()));
    let worker = async |owner: &'static str| {
        loop {
            let share = WorkShare { queues: &queues, limit: &|| 3 };
            let claimed = store.claim_work(&[share], request(owner, 1, 3)).await.unwrap();
            for work in &claimed {
                done.lock().unwrap().push(work.record.name.parse::<u32>().unwrap());
                let mut tx = store.begin().await.unwrap();
                assert!(tx.finish_work(work.claim).await.unwrap());
                tx.commit().await.unwrap();
            }
            if claimed.is_empty() && store.counts().await.unwrap().work == 0 {
                return;
            }
        }
    };
    let all = async { tokio::join!(worker("a"), worker("b"), worker("c"), worker("d")) };
    tokio::time::timeout(Duration::from_mins(2), all).await.expect("every piece is done");
    let done = done.lock().unwrap();
    assert_eq!(done.len(), 140);
    for lane in 0..7 {
        let of_lane: Vec<u32> = done.iter().copied().filter(|n| n % 7 == lane).collect();
        assert!(of_lane.is_sorted(), "{of_lane:?}");
    }
}

/// Of a batch whose transaction the server has aborted nothing is committed, whatever its handlers make of the error.
#[tokio::test]
async fn g7_a_batch_whose_transaction_was_aborted_stores_nothing_more() {
    let (_schema, store) = with_table().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders VALUES (1)").await.unwrap();
    tx.check().await.unwrap();
    run(&mut tx, "SELECT 1 / 0").await.unwrap_err();
    // Whether it is noticed here or by what comes next: the next handler writes nothing.
    let checked = tx.check().await;
    assert!(checked.is_err() || run(&mut tx, "INSERT INTO orders VALUES (2)").await.is_err());
    assert!(tx.savepoint().await.is_err());
    assert!(tx.commit().await.is_err());
    assert_eq!(orders(&store).await, 0);
}

/// Where many messages stand is asked in one go: each statement has a virtual transaction of its own.
#[tokio::test]
async fn where_many_messages_stand_is_one_question() {
    let (schema, _) = fresh().await;
    let store = schema.lent(1).await;
    let mark =
        |n| InboxMark { group: "g".to_owned(), handler: "h".to_owned(), event_id: Uuid::from_u128(n), at: at(1) };
    let asked: Vec<_> = (0..200).map(|n| (mark(n), Some("lane".to_owned()))).collect();
    store.standings(asked[..2].to_vec()).await.unwrap();
    let begun = "SELECT split_part(virtualtransaction, '/', 2)::bigint FROM pg_locks
        WHERE pid = pg_backend_pid() AND locktype = 'virtualxid'";
    number(&store.pool, begun).await;
    let before = number(&store.pool, begun).await;
    assert_eq!(store.standings(asked).await.unwrap().len(), 200);
    let statements = number(&store.pool, begun).await - before - 1;
    assert!(statements <= 2, "{statements} statements");
}

/// Whether a statement that is begun by the pool is in a transaction of its own.
async fn is_by_itself(store: &PostgresStore) -> bool {
    let statement = sqlx::raw_sql("SELECT now() = statement_timestamp()");
    statement.fetch_one(&store.pool).await.unwrap().get(0)
}

/// sqlx gives back a connection in a transaction where the future is dropped that begins it.
#[tokio::test]
async fn g7_a_begin_that_is_given_up_leaves_no_transaction_behind() {
    let (schema, own) = with_table().await;
    for store in [own, schema.lent(1).await] {
        let slow = begin(store.sound_connection().await.unwrap(), "BEGIN; SELECT pg_sleep(0.05)");
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
    let (schema, own) = with_table().await;
    // Of a pool of the user's only a unit of work asks.
    for (store, is_own) in [(own, true), (schema.lent(1).await, false)] {
        let slow = store.pool.begin_with("BEGIN; SELECT pg_sleep(0.05)");
        tokio::time::timeout(Duration::from_millis(10), slow).await.unwrap_err();
        assert_eq!(is_by_itself(&store).await, is_own);
        drop(store.begin().await.unwrap());
        assert!(is_by_itself(&store).await);
    }
}
