//! The server goes away, refuses, or is not heard.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::store::StoreErrorKind;

async fn kill_everybody(schema: &Schema) {
    let sql = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
    let killed: i64 = sqlx::query_scalar(sql).bind(&schema.name).fetch_one(&mut admin().await).await.unwrap();
    assert!(killed > 0);
}

fn event(name: &str) -> Vec<Record> {
    vec![Record::Outbox(message(name, None))]
}

#[tokio::test]
async fn a_connection_killed_in_mid_unit_leaves_nothing_and_the_next_unit_works() {
    let (schema, store) = fresh().await;
    let mut tx = store.begin().await.unwrap();
    tx.store(event("lost")).await.unwrap();
    kill_everybody(&schema).await;
    let error = tx.store(event("lost")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    tx.store(event("kept")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&claim(&store, 1, 9).await), ["kept"]);
}

#[tokio::test]
async fn a_database_that_was_away_is_used_again_and_claims_go_on() {
    let (schema, store) = fresh().await;
    keep_messages(&store, [message("a", Some("k")), message("b", Some("k"))]).await;
    let first = claim(&store, 1, 1).await;
    kill_everybody(&schema).await;
    assert_eq!(publish(&store, &first).await, 1);
    kill_everybody(&schema).await;
    assert_eq!(names(&claim(&store, 2, 9).await), ["b"]);
}

/// Stands between a client and the server. Once `COMMIT` has gone by, nothing comes back any more.
async fn deaf_to_commits() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options: PgConnectOptions = server().parse().unwrap();
    let target = format!("{}:{}", options.get_host(), options.get_port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let target = target.clone();
            tokio::spawn(async move { pass_on(client, TcpStream::connect(target).await.unwrap()).await });
        }
    });
    address
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream) {
    let (mut from_client, mut from_server) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            count = client.read(&mut from_client) => {
                let Ok(count) = count else { return };
                if count == 0 || server.write_all(&from_client[..count]).await.is_err() {
                    return;
                }
                if from_client[..count].windows(7).any(|word| word == b"COMMIT\0") {
                    // The server answers, and nobody hears it.
                    let _ = server.read(&mut from_server).await;
                    return;
                }
            }
            count = server.read(&mut from_server) => {
                let Ok(count) = count else { return };
                if count == 0 || client.write_all(&from_server[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test]
async fn g3_a_commit_whose_answer_is_lost_is_unknown_and_may_have_happened() {
    let (schema, store) = fresh().await;
    let address = deaf_to_commits().await;
    let options = schema.options().host("127.0.0.1").port(address.port());
    let options = options.ssl_mode(sqlx::postgres::PgSslMode::Disable);
    let deaf =
        PostgresStore::connect(Store::pool(PgPoolOptions::new().connect_with(options).await.unwrap())).await.unwrap();
    let mut tx = deaf.begin().await.unwrap();
    tx.store(event("placed")).await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (StoreErrorKind::CommitUnknown, false), "{error:?}");
    assert_eq!(names(&claim(&store, 1, 9).await), ["placed"], "this time it has");
}

#[tokio::test]
async fn a_read_only_database_says_so() {
    let (schema, _store) = fresh().await;
    let options = schema.options().options([("default_transaction_read_only", "on")]);
    let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
    let store = PostgresStore::connect(Store::pool(pool)).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let error = tx.store(event("placed")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (StoreErrorKind::ReadOnly, false), "{error:?}");
    assert_eq!(store.claim_outbox(request("a", 1, 9)).await.unwrap_err().kind(), StoreErrorKind::ReadOnly);
}

#[tokio::test]
async fn out_of_connections_is_unavailable_and_passes() {
    let schema = Schema::new().await;
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(3));
    let store = PostgresStore::connect(Store::pool(pool.connect_with(schema.options()).await.unwrap())).await.unwrap();
    store.migrate().await.unwrap();
    let held = store.begin().await.unwrap();
    let error = store.begin().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (StoreErrorKind::Unavailable, true), "{error:?}");
    assert!(error.to_string().contains("no connection in time"), "{error}");
    held.rollback().await.unwrap();
    store.begin().await.unwrap();
}

#[tokio::test]
async fn the_victim_of_a_deadlock_is_told_to_try_again() {
    let (_schema, store) = fresh().await;
    run_sql(&store.pool, "CREATE TABLE pair (id INT PRIMARY KEY, n INT); INSERT INTO pair VALUES (1, 0), (2, 0)").await;
    let (mut one, mut two) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    run(&mut one, "UPDATE pair SET n = 1 WHERE id = 1").await.unwrap();
    run(&mut two, "UPDATE pair SET n = 1 WHERE id = 2").await.unwrap();
    let (first, second) = tokio::join!(
        run(&mut one, "UPDATE pair SET n = 1 WHERE id = 2"),
        run(&mut two, "UPDATE pair SET n = 1 WHERE id = 1")
    );
    let error: crate::StoreError = first.err().or(second.err()).expect("one of them is the victim").into();
    assert_eq!((error.kind(), error.is_retryable()), (StoreErrorKind::Busy, true), "{error:?}");
}
