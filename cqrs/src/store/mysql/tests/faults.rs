//! What the server does to those who use it.

use super::*;
use crate::store::{StoreError, StoreErrorKind};

#[tokio::test]
async fn a_lock_that_is_not_given_in_time_is_busy_and_the_unit_is_whole_or_gone() {
    let (_place, store) = with_orders().await;
    run_on(&store, "INSERT INTO orders (id, n) VALUES (1, 0)").await;
    let mut other = store.begin().await.unwrap();
    run(&mut other, "UPDATE orders SET n = 1 WHERE id = 1").await.unwrap();
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "SET innodb_lock_wait_timeout = 1; INSERT INTO orders (id, n) VALUES (2, 0)").await.unwrap();
    let error = StoreError::from(run(&mut tx, "UPDATE orders SET n = 2 WHERE id = 1").await.unwrap_err());
    assert_eq!((error.kind(), error.is_retryable()), (StoreErrorKind::Busy, true), "{error:?}");
    // The server has undone that statement alone: what the unit did before is still to be committed, with what comes after.
    tx.store(vec![Record::Outbox(message("placed", None))]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((orders(&store).await, store.counts().await.unwrap().outbox), (2, 1));
}

async fn kill(of: &mut Box<dyn Transaction>) {
    let id: i64 =
        sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS SIGNED)").fetch_one(&mut **handle(of)).await.unwrap();
    onlooker().await.execute(AssertSqlSafe(format!("KILL {id}"))).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_killed_takes_its_unit_with_it_and_the_next_one_is_another() {
    let (_place, store) = with_orders().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders (n) VALUES (1)").await.unwrap();
    kill(&mut tx).await;
    let error = tx.store(vec![Record::Outbox(message("placed", None))]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders (n) VALUES (1)").await.unwrap();
    kill(&mut tx).await;
    let error = tx.commit().await.unwrap_err();
    // It is noticed by the look before the commit: nothing can have happened.
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    keep(&store, [Record::Outbox(message("placed", None))]).await;
    assert_eq!((orders(&store).await, store.counts().await.unwrap().outbox), (0, 1));
}

#[tokio::test]
async fn a_relay_goes_on_when_its_connections_were_killed() {
    let (place, store) = fresh().await;
    keep(&store, (0..3).map(|n| Record::Outbox(message(&n.to_string(), None)))).await;
    let claimed = claim(&store, "one", 1).await;
    let mut onlooker = onlooker().await;
    for thread in threads(&mut onlooker, &place.name).await {
        let _ = onlooker.execute(AssertSqlSafe(format!("KILL {thread}"))).await;
    }
    let mut settled = store.settle_outbox(published(&claimed)).await;
    for _ in 0..20 {
        if settled.is_ok() {
            break;
        }
        settled = store.settle_outbox(published(&claimed)).await;
    }
    assert_eq!(settled.unwrap(), 3);
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

/// As on a replica. Of a session alone: the server is everybody's.
#[tokio::test]
async fn a_server_that_is_read_only_says_so() {
    let (_place, store) = with_orders().await;
    let mut own = store.pool.acquire().await.unwrap();
    let read_only = "SET SESSION TRANSACTION READ ONLY; START TRANSACTION; INSERT INTO orders (n) VALUES (1)";
    let refused = sqlx::raw_sql(read_only).execute(&mut *own).await.unwrap_err();
    own.close_on_drop();
    let error = store.place.explain(refused);
    assert_eq!((error.kind(), error.is_retryable()), (StoreErrorKind::ReadOnly, false));
    assert!(error.to_string().contains("read-only: it may be a replica"), "{error}");
}

#[tokio::test]
async fn a_violated_constraint_says_so() {
    let (_place, store) = with_orders().await;
    let mut tx = store.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders (id) VALUES (1)").await.unwrap();
    let error = StoreError::from(run(&mut tx, "INSERT INTO orders (id) VALUES (1)").await.unwrap_err());
    assert_eq!(error.kind(), StoreErrorKind::Constraint);
}

#[tokio::test]
async fn connections_that_are_all_busy_are_named_with_the_mend() {
    let (place, _) = fresh().await;
    let pool = sqlx::mysql::MySqlPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_millis(200))
        .connect(&place.url)
        .await
        .unwrap();
    let store = MySqlStore::connect(Store::pool(pool)).await.unwrap();
    let _held = store.begin().await.unwrap();
    let error = store.begin().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (StoreErrorKind::Unavailable, true));
    assert!(error.to_string().contains("every connection was busy"), "{error}");
}

/// A server between a store and the real one that answers a commit as one does that is told to end the connection: the commit has gone
/// through.
async fn killed_at_commit() -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, server) = (listener.local_addr().unwrap(), server());
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect((server.get_host(), server.get_port())).await.unwrap();
            tokio::spawn(async move {
                let (mut ask, mut answer, mut commits) = (vec![0; 1 << 16], vec![0; 1 << 16], false);
                loop {
                    tokio::select! {
                        read = near.read(&mut ask) => {
                            let Ok(read @ 1..) = read else { return };
                            // The packet's head, COM_QUERY, and the statement.
                            commits = ask[..read].get(5..).is_some_and(|sql| sql == b"COMMIT");
                            far.write_all(&ask[..read]).await.unwrap();
                        }
                        read = far.read(&mut answer) => {
                            let Ok(read @ 1..) = read else { return };
                            if commits {
                                // ERR, number 1927, state, text.
                                let text = [&[0xff, 0x87, 0x07][..], b"#70100Connection was killed"].concat();
                                let head = [u8::try_from(text.len()).unwrap(), 0, 0, 1];
                                near.write_all(&[&head[..], &text].concat()).await.unwrap();
                                return;
                            }
                            near.write_all(&answer[..read]).await.unwrap();
                        }
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn g3_a_connection_that_is_ended_instead_of_an_answer_to_a_commit_leaves_it_unknown() {
    let (place, store) = with_orders().await;
    let address = killed_at_commit().await;
    let options: MySqlConnectOptions = place.url.parse().unwrap();
    let options = options.host("127.0.0.1").port(address.port()).ssl_mode(sqlx::mysql::MySqlSslMode::Disabled);
    let pool = sqlx::mysql::MySqlPoolOptions::new().connect_with(options).await.unwrap();
    let cut = MySqlStore::connect(Store::pool(pool)).await.unwrap();
    let mut tx = cut.begin().await.unwrap();
    run(&mut tx, "INSERT INTO orders (n) VALUES (1)").await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (StoreErrorKind::CommitUnknown, false), "{error:?}");
    assert_eq!(orders(&store).await, 1, "this time it has happened");
}
