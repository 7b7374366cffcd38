//! An app on a real MySQL or MariaDB server: a command's rows and events commit together, what is consumed takes effect once.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use cqrs::broker::driver::{Consumer, Driver, Outgoing, Subscription};
use cqrs::broker::{BrokerError, MemoryBroker};
use cqrs::prelude::*;
use cqrs::sqlx::mysql::MySqlConnectOptions;
use cqrs::sqlx::{self, AssertSqlSafe, ConnectOptions, Executor, MySql, MySqlPool};
use cqrs::store::driver::BoxFuture;
use cqrs::testing::TestApp;
use cqrs::{Delivery, DispatchError};
use cqrs_tests::until;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "placed", topic = "orders", key = customer)]
struct Placed {
    customer: String,
    number: i64,
}

#[derive(Command)]
#[command(error = sqlx::Error)]
struct Place {
    customer: &'static str,
    number: i64,
}

/// The same number twice is refused by the database, with everything that was raised.
#[command_handler]
async fn place(cmd: Place, tx: &mut Tx<MySql>, events: &mut Events) -> Result<(), sqlx::Error> {
    events.raise(Placed { customer: cmd.customer.to_owned(), number: cmd.number });
    let insert = sqlx::query("INSERT INTO orders (number, customer) VALUES (?, ?)").bind(cmd.number).bind(cmd.customer);
    insert.execute(&mut **tx).await?;
    Ok(())
}

/// Fails for some, after it has written, until it is tried again as stored work.
#[event_handler(group = "billing", retry(max = 4, first = "50ms"))]
async fn bill(e: Placed, tx: &mut Tx<MySql>, meta: &Meta, events: &mut Events) -> Result<(), cqrs::BoxError> {
    let insert = sqlx::query("INSERT INTO bills (number, customer) VALUES (?, ?)").bind(e.number).bind(&e.customer);
    insert.execute(&mut **tx).await?;
    if e.number % 7 == 0 && meta.attempt() <= 2 {
        return Err("not yet".into());
    }
    events.send(Count { number: e.number });
    Ok(())
}

#[derive(Command, Serialize, Deserialize)]
#[command(error = sqlx::Error)]
struct Count {
    number: i64,
}

/// Stored by the consumer, done once its unit is committed.
#[command_handler]
async fn count(cmd: Count, begin: &mut Begin<MySql>) -> Result<(), sqlx::Error> {
    let tx = begin.begin().await.map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
    sqlx::query("INSERT INTO counted (number) VALUES (?)").bind(cmd.number).execute(&mut **tx).await?;
    Ok(())
}

#[derive(Command)]
#[command(error = cqrs::BoxError)]
struct PlaceBadly;

/// DDL commits what came before it. The unit must not be reported as done.
#[command_handler]
async fn place_badly(_cmd: PlaceBadly, tx: &mut Tx<MySql>, events: &mut Events) -> Result<(), cqrs::BoxError> {
    events.raise(Placed { customer: "nobody".to_owned(), number: 1_000 });
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS made (id INT)").execute(&mut **tx).await?;
    Ok(())
}

#[derive(Query)]
#[query(response = i64, error = sqlx::Error)]
struct Orders;

#[query_handler]
async fn orders(_q: Orders, pool: Inject<MySqlPool>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT COUNT(*) FROM orders").fetch_one(&*pool).await
}

const TABLES: &str = "
CREATE TABLE orders (number BIGINT PRIMARY KEY, customer VARCHAR(50));
CREATE TABLE bills (n BIGINT AUTO_INCREMENT PRIMARY KEY, number BIGINT, customer VARCHAR(50));
CREATE TABLE counted (number BIGINT);";

fn server() -> MySqlConnectOptions {
    let url = env::var("CQRS_TEST_MYSQL_URL").expect(
        "CQRS_TEST_MYSQL_URL says which MySQL or MariaDB server to test with, `mysql://user:password@host:3306`: \
         start one by `tests/services up`, and say `eval \"$(tests/services env)\"`",
    );
    url.parse().unwrap()
}

/// Runs a test with a database of its own.
async fn with_database<F: Future<Output = ()>>(test: impl FnOnce(String, MySqlPool) -> F) {
    let name = format!("cqrs_app_{}", Uuid::new_v4().simple());
    let mut connection = server().connect().await.unwrap();
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let options = server().database(&name);
    let pool = MySqlPool::connect_with(options.clone()).await.unwrap();
    pool.execute(TABLES).await.unwrap();
    let ran =
        tokio::time::timeout(Duration::from_secs(90), test(options.to_url_lossy().to_string(), pool.clone())).await;
    pool.close().await;
    connection.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await.unwrap();
    ran.expect("the test hangs");
}

async fn number(pool: &MySqlPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

struct Running {
    stop: Arc<Notify>,
    task: tokio::task::JoinHandle<Result<(), cqrs::Error>>,
}

impl Running {
    fn start(app: &App) -> Self {
        let stop = Arc::new(Notify::new());
        let (running, stopped) = (app.clone(), Arc::clone(&stop));
        Self { stop, task: tokio::spawn(async move { running.run_until(stopped.notified()).await }) }
    }

    async fn stop(self) {
        self.stop.notify_one();
        self.task.await.unwrap().unwrap();
    }
}

async fn app(store: Store, broker: &MemoryBroker) -> App {
    cqrs::bootstrap!().store(store).broker(Broker::driver(Outliving(broker.clone()))).await.unwrap()
}

/// A broker as a server is one: it goes on when an app that uses it stops.
#[derive(Debug)]
struct Outliving(MemoryBroker);

impl Driver for Outliving {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn crosses_processes(&self) -> bool {
        self.0.crosses_processes()
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        self.0.publish(batch)
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        self.0.subscribe(subscription)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn g7_g9_a_commands_rows_and_events_are_one_and_what_is_consumed_takes_effect_once() {
    with_database(async |url, pool| {
        let broker = MemoryBroker::new();
        let app = app(Store::url(url), &broker).await;
        for number in 0..30 {
            app.send(Place { customer: ["ann", "bob", "cid"][number as usize % 3], number }).await.unwrap();
        }
        let twice = app.send(Place { customer: "ann", number: 3 }).await.unwrap_err();
        assert!(matches!(twice, DispatchError::Handler(_)), "{twice:?}");
        assert_eq!((app.counts().await.unwrap().outbox, app.query(Orders).await.unwrap()), (30, 30));

        let running = Running::start(&app);
        until("every order is billed and counted", async || number(&pool, "SELECT COUNT(*) FROM counted").await >= 30)
            .await;
        // The broker brings a message once more.
        let again = serde_json::json!({
            "payload": {"customer": "ann", "number": 500}, "event_id": Uuid::from_u128(5), "event_name": "placed",
            "event_timestamp": "2026-01-02T03:04:05Z", "topic": "orders",
        });
        for _ in 0..3 {
            let delivery = Delivery::new("orders", again.to_string());
            let published = broker.publish(vec![Outgoing { id: Uuid::new_v4(), delivery }]).await;
            assert!(published.iter().all(Result::is_ok));
        }
        until("nothing is left", async || {
            let counts = app.counts().await.unwrap();
            (counts.outbox, counts.work) == (0, 0) && number(&pool, "SELECT COUNT(*) FROM counted").await >= 31
        })
        .await;
        running.stop().await;
        assert_eq!(number(&pool, "SELECT COUNT(*) FROM bills").await, 31);
        assert_eq!(number(&pool, "SELECT COUNT(DISTINCT number) FROM bills").await, 31);
        assert_eq!(number(&pool, "SELECT COUNT(*) FROM counted").await, 31);
        let swapped = "SELECT COUNT(*) FROM bills a JOIN bills b
            ON a.customer = b.customer AND a.n < b.n AND a.number > b.number";
        assert_eq!(number(&pool, swapped).await, 0, "those of a customer in order");
        assert_eq!(app.counts().await.unwrap().dead, 0);
        app.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn g7_a_unit_that_ddl_has_committed_is_not_reported_as_done() {
    with_database(async |url, pool| {
        let app = app(Store::url(url), &MemoryBroker::new()).await;
        let error = app.send(PlaceBadly).await.unwrap_err();
        assert!(matches!(error, DispatchError::Store { .. }), "{error:?}");
        assert_eq!(app.counts().await.unwrap().outbox, 0);
        app.send(Place { customer: "ann", number: 1 }).await.unwrap();
        assert_eq!(number(&pool, "SELECT COUNT(*) FROM orders").await, 1);
        app.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn g8_g12_two_instances_share_the_work_and_one_may_go() {
    with_database(async |url, pool| {
        let broker = MemoryBroker::new();
        let one = app(Store::url(url.clone()), &broker).await;
        let two = app(Store::pool(pool.clone()).prefix("cqrs_"), &broker).await;
        let (first, second) = (Running::start(&one), Running::start(&two));
        for number in 0..60 {
            let app = if number % 2 == 0 { &one } else { &two };
            app.send(Place { customer: ["ann", "bob", "cid"][number as usize % 3], number }).await.unwrap();
            if number == 30 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        first.stop().await;
        one.shutdown().await;
        until("every order is counted", async || number(&pool, "SELECT COUNT(*) FROM counted").await >= 60).await;
        until("nothing is left", async || two.counts().await.unwrap().outbox == 0).await;
        second.stop().await;
        assert_eq!(number(&pool, "SELECT COUNT(*) FROM bills").await, 60);
        assert_eq!(number(&pool, "SELECT COUNT(DISTINCT number) FROM counted").await, 60);
        two.shutdown().await;
    })
    .await;
}

#[derive(Query)]
#[query(response = String, error = sqlx::Error)]
struct Where;

#[query_handler]
async fn which(_q: Where, pool: Inject<MySqlPool>) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT DATABASE()").fetch_one(&*pool).await
}

#[tokio::test]
async fn a_test_app_has_a_database_of_its_own_that_goes_with_it() {
    with_database(async |url, pool| {
        let app = TestApp::new(cqrs::bootstrap!().store(Store::url(url)).broker(Broker::url("memory:"))).await.unwrap();
        let own = app.query(Where).await.unwrap();
        assert!(own.starts_with("cqrs_test_"), "{own}");
        assert_eq!(app.counts().await.unwrap().outbox, 0, "it is migrated");
        drop(app);
        let sql = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?";
        until(&format!("`{own}` is gone"), async || {
            sqlx::query_scalar::<_, i64>(sql).bind(&own).fetch_one(&pool).await.unwrap() == 0
        })
        .await;
    })
    .await;
}
