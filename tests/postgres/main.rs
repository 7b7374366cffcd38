//! An app on PostgreSQL and the memory broker: commands in a transaction, events published, consumed once.

mod notices;

use cqrs::prelude::*;
use cqrs::sqlx::migrate::{Migration, MigrationType, Migrator};
use cqrs::sqlx::{self, PgPool, Postgres, SqlSafeStr};
use cqrs::testing::TestApp;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

#[derive(Command)]
#[command(error = cqrs::BoxError)]
struct Place {
    order: i64,
    ends: End,
}

/// How the handler ends.
#[derive(PartialEq)]
enum End {
    Well,
    InAnError,
    /// It ignores a statement that failed.
    Ignoring,
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "placed", topic = "orders", key = order)]
struct Placed {
    order: i64,
}

#[derive(Query)]
#[query(response = (i64, i64), error = sqlx::Error)]
struct Count;

#[command_handler]
async fn place(cmd: Place, tx: &mut Tx<Postgres>, events: &mut Events) -> Result<(), cqrs::BoxError> {
    let insert = "INSERT INTO orders VALUES ($1)";
    sqlx::query(insert).bind(cmd.order).execute(&mut **tx).await?;
    if cmd.ends == End::Ignoring {
        let _ = sqlx::query(insert).bind(cmd.order).execute(&mut **tx).await;
        return Ok(());
    }
    events.raise(Placed { order: cmd.order });
    if cmd.ends == End::InAnError { Err("changed its mind".into()) } else { Ok(()) }
}

#[event_handler(group = "billing")]
async fn bill(e: Placed, tx: &mut Tx<Postgres>) -> Result<(), sqlx::Error> {
    // Without a key of its own: twice handled would be two rows.
    sqlx::query("INSERT INTO bills VALUES ($1)").bind(e.order).execute(&mut **tx).await.map(drop)
}

#[query_handler]
async fn count(_q: Count, pool: Inject<PgPool>) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as("SELECT (SELECT COUNT(*) FROM orders), (SELECT COUNT(*) FROM bills)").fetch_one(&*pool).await
}

fn server() -> String {
    std::env::var("CQRS_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!("`CQRS_TEST_POSTGRES_URL` names no PostgreSQL server for tests: start one with `tests/services up postgres`, and load what `tests/services env` prints")
    })
}

fn app() -> cqrs::Builder {
    let tables = "CREATE TABLE orders (id BIGINT PRIMARY KEY); CREATE TABLE bills (id BIGINT)".into_sql_str();
    let migration = Migration::new(1, "orders".into(), MigrationType::Simple, tables, false);
    let store = Store::url(server()).migrations(Migrator::with_migrations(vec![migration]));
    cqrs::bootstrap!().store(store).broker(Broker::url("memory:"))
}

#[tokio::test]
async fn g7_a_command_commits_its_rows_with_its_event_which_is_handled_once() {
    let app = TestApp::new(app()).await.unwrap();
    app.send(Place { order: 1, ends: End::Well }).await.unwrap();
    app.settle().await;
    assert_eq!(app.query(Count).await.unwrap(), (1, 1));
    assert_eq!(app.events::<Placed>().len(), 1);
    let counts = app.counts().await.unwrap();
    assert_eq!((counts.outbox, counts.inbox, counts.dead), (0, 1, 0));
}

#[tokio::test]
async fn g7_a_command_that_fails_leaves_nothing() {
    let app = TestApp::new(app()).await.unwrap();
    app.send(Place { order: 1, ends: End::InAnError }).await.unwrap_err();
    let error = app.send(Place { order: 2, ends: End::Ignoring }).await.unwrap_err();
    assert_eq!(error.kind(), cqrs::DispatchErrorKind::Store, "{error:?}");
    app.settle().await;
    assert_eq!(app.query(Count).await.unwrap(), (0, 0));
    assert_eq!(app.counts().await.unwrap().outbox, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_commands_at_once_are_a_hundred_orders_and_bills() {
    let app = TestApp::new(app()).await.unwrap();
    let sent = join_all((0..100).map(|order| app.send(Place { order, ends: End::Well }))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    app.settle().await;
    assert_eq!(app.query(Count).await.unwrap(), (100, 100));
    let counts = app.counts().await.unwrap();
    assert_eq!((counts.outbox, counts.work, counts.inbox, counts.dead), (0, 0, 100, 0));
}
