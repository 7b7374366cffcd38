//! Notices between processes: two apps on one database, of which one commands and the other publishes.

use cqrs::prelude::*;
use cqrs::sqlx::postgres::PgPool;
use cqrs::sqlx::{self, AssertSqlSafe};
use cqrs_tests::until;

use super::{End, Place, server};

/// Nothing is found by polling.
const NEVER: &str = "store_notify = true\nrelay = { poll_first = '1h', poll_ceiling = '1h' }";

async fn run(pool: &PgPool, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(pool).await.unwrap();
}

async fn is_so(pool: &PgPool, statement: &str) -> bool {
    sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_stores_another_publishes_without_polling_also_after_its_connection_was_lost() {
    let schema = format!("notices_{}", uuid::Uuid::now_v7().simple());
    let admin = PgPool::connect(&server()).await.unwrap();
    run(&admin, &format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.orders (id BIGINT PRIMARY KEY)")).await;
    let url = |name: &str| {
        let (server, mark) = (server(), if server().contains('?') { '&' } else { '?' });
        format!("{server}{mark}options[search_path]={schema}&application_name={name}")
    };
    let settings = |text| cqrs::Settings::from_toml(text).unwrap();
    let store = Store::url(url("commanding")).notify(true);
    let commanding = cqrs::bootstrap!()
        .store(store)
        .broker(Broker::url("devnull:"))
        .settings(settings("relay = 'off'"))
        .await
        .unwrap();
    let publishing = cqrs::bootstrap!()
        .store(Store::url(url(&schema)))
        .broker(Broker::url("devnull:"))
        .run(["relay"])
        .settings(settings(NEVER))
        .await
        .unwrap();
    let running = tokio::spawn({
        let app = publishing.clone();
        async move { app.run_until(std::future::pending()).await }
    });
    let is_empty = format!("SELECT NOT EXISTS (SELECT 1 FROM {schema}.cqrs_outbox)");
    let cut = format!(
        "SELECT count(pg_terminate_backend(pid)) = 1 FROM pg_stat_activity \
         WHERE application_name = '{schema}' AND query LIKE 'LISTEN %'"
    );
    for round in 0..3 {
        // The first may be found as the other begins to listen: the second is told.
        for number in 0..2 {
            commanding.send(Place { order: round * 2 + number, ends: End::Well }).await.unwrap();
            until("the outbox is empty", async || is_so(&admin, &is_empty).await).await;
        }
        until("somebody listens", async || is_so(&admin, &cut).await).await;
    }
    publishing.shutdown().await;
    running.await.unwrap().unwrap();
    run(&admin, &format!("DROP SCHEMA {schema} CASCADE")).await;
}
