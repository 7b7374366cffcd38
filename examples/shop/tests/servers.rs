//! On PostgreSQL and Kafka, in one process and in three, of which each does its part: what comes of it is what comes of it on SQLite.
#![cfg(all(unix, feature = "servers"))]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics is a test that fails")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use cqrs_tests::services::{self, Private};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

/// All parts: what a process runs that is told nothing else.
const ALL: &str = "all";

/// A process that runs some parts of the shop, and serves.
struct Process {
    child: Child,
    address: String,
    /// Kept, so that it never writes to a closed pipe.
    _told: BufReader<ChildStdout>,
}

impl Process {
    fn start(directory: &Path, servers: &[(&str, &str)], parts: &str) -> Self {
        let log = fs::File::create(directory.join(format!("{parts}.log"))).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_shop"));
        child.env_remove("CQRS_RUN");
        if parts != ALL {
            child.env("CQRS_RUN", parts);
        }
        let mut child = child
            .args(["--listen", "127.0.0.1:0"])
            .envs(servers.iter().copied())
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let mut lines = String::new();
        while !lines.contains("http://") {
            if told.read_line(&mut lines).unwrap() == 0 {
                let log = fs::read_to_string(directory.join(format!("{parts}.log"))).unwrap();
                panic!("the process of {parts} has ended: {lines}{log}");
            }
        }
        let (_, address) = lines.split_once("http://").unwrap();
        let address = address.split('/').next().unwrap().to_owned();
        Self { child, address, _told: told }
    }

    /// Asks over HTTP: status and answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n");
        let head = format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
    }

    /// SIGTERM is a regular end.
    fn terminate(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A schema of the test's own.
struct Tables(PgPool);

impl Tables {
    async fn new(name: &str) -> Self {
        let pool = PgPool::connect(&url(name)).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).execute(&pool).await.unwrap();
        Self(pool)
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.0).await.unwrap()
    }

    async fn end(self, name: &str) {
        let sql = AssertSqlSafe(format!("DROP SCHEMA {name} CASCADE"));
        sqlx::raw_sql(sql).execute(&self.0).await.unwrap();
    }

    async fn until(&self, sql: &'static str, number: i64) {
        for _ in 0..900 {
            if self.number(sql).await == number {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("`{sql}` never gave {number}, but {}", self.number(sql).await);
    }
}

fn url(schema: &str) -> String {
    format!("{}?options[search_path]={schema}", services::postgres_url())
}

/// Thirty orders, each asked for twice: every third is paid, half of it by a gift card, and every fifth of the others
/// cancelled; who pays what is cancelled is told so.
fn buy(web: &Process) -> (usize, usize) {
    let (mut paid, mut cancelled) = (0, 0);
    for n in 0..30 {
        let lines = json!([{"sku": "tea", "quantity": n % 3 + 1}, {"sku": "mug", "quantity": 1}]);
        let order = json!({"id": format!("o-{n}"), "customer": format!("c-{n}"), "lines": lines}).to_string();
        let (status, placed) = web.ask("POST", "/orders", &order);
        assert_eq!((status, &placed["status"]), (201, &json!("placed")), "{placed}");
        assert_eq!(web.ask("POST", "/orders", &order), (201, placed), "the same again is the same order");
        if n % 3 == 0 {
            let ways = if n == 0 { r#"{"gift_card": "WELCOME-10", "card": "tok"}"# } else { r#"{"card": "tok"}"# };
            let (status, answer) = web.ask("POST", &format!("/orders/o-{n}/pay"), ways);
            assert_eq!((status, &answer["status"]), (200, &json!("paid")), "{answer}");
            let again = web.ask("POST", &format!("/orders/o-{n}/pay"), ways);
            assert_eq!(again, (200, answer), "the same again joins the checkout");
            paid += 1;
        } else if n % 5 == 0 {
            let (status, answer) = web.ask("POST", &format!("/orders/o-{n}/cancel"), "");
            assert_eq!((status, &answer["status"]), (200, &json!("cancelled")), "{answer}");
            let (status, problem) = web.ask("POST", &format!("/orders/o-{n}/pay"), "{}");
            assert_eq!((status, &problem["type"]), (409, &json!("urn:shop:concluded")), "{problem}");
            cancelled += 1;
        }
    }
    (paid, cancelled)
}

/// Twenty orders at once, each paid and cancelled at once: it is one or the other. Gives how many are paid.
fn pay_and_cancel(web: &Process) -> i64 {
    let both = |n: usize| {
        let mut lines = vec![json!({"sku": "tea", "quantity": 1}), json!({"sku": "mug", "quantity": 2})];
        lines.rotate_left(n % 2);
        let order = json!({"id": format!("b-{n}"), "customer": "c-30", "lines": lines}).to_string();
        assert_eq!(web.ask("POST", "/orders", &order).0, 201);
        let ask = |what: &str| web.ask("POST", &format!("/orders/b-{n}/{what}"), "").0;
        let (paid, cancelled) = thread::scope(|scope| {
            let paid = scope.spawn(|| ask("pay"));
            let cancelled = ask("cancel");
            (paid.join().unwrap(), cancelled)
        });
        assert!(matches!((paid, cancelled), (200, 409) | (409, 200)), "{paid} {cancelled}");
        i64::from(paid == 200)
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..20).map(|n| scope.spawn(move || both(n))).collect();
        all.into_iter().map(|paid| paid.join().unwrap()).sum()
    })
}

const OUTBOX: &str = "SELECT count(*) FROM cqrs_outbox";
const MOVES: &str = "SELECT count(*) FROM stock_moves";
/// Products of which something is reserved that has not gone out, or has gone out unreserved.
const NOT_GONE: &str = "SELECT count(*) FROM stock WHERE reserved +
    (SELECT coalesce(sum(quantity), 0) FROM stock_moves WHERE stock_moves.sku = stock.sku) <> 0";

/// Each order, each move of the stock and each mail once, and the money as it was paid.
async fn assert_is_whole(tables: &Tables, directory: &Path, paid: usize, cancelled: usize) {
    assert_eq!(tables.number("SELECT count(*) FROM orders").await, 30);
    let with = |status: &str| format!("SELECT count(*) FROM orders WHERE status = '{status}'");
    for (status, count) in [("paid", paid), ("cancelled", cancelled)] {
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(with(status))).fetch_one(&tables.0).await.unwrap();
        assert_eq!(usize::try_from(found).unwrap(), count, "{status}");
    }
    let twice =
        "SELECT count(*) FROM (SELECT 1 FROM stock_moves GROUP BY order_id, sku, quantity HAVING count(*) > 1) AS t";
    assert_eq!(tables.number(twice).await, 0, "nothing moved twice");
    assert_eq!(tables.number(NOT_GONE).await, 0, "what was reserved has gone out");
    let gone = "SELECT CAST(sum(quantity) AS BIGINT) FROM stock_moves WHERE sku = 'mug'";
    assert_eq!(tables.number(gone).await, -i64::try_from(paid).unwrap(), "a mug for each paid order");
    assert_eq!(
        tables.number("SELECT count(*) FROM cqrs_sagas WHERE phase NOT IN ('completed', 'compensated')").await,
        0
    );
    assert_eq!(tables.number("SELECT cents FROM gift_cards_left WHERE code = 'WELCOME-10'").await, 0);
    assert_eq!(tables.number("SELECT count(*) FROM unpaid WHERE cents = 0").await, i64::try_from(paid).unwrap());

    let mut mails = BTreeSet::new();
    for entry in fs::read_dir(directory.join("spool")).unwrap() {
        let mail: Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        assert!(mails.insert(mail["to"].as_str().unwrap().to_owned()), "two mails: {mail}");
    }
    assert_eq!(mails, (0..30).map(|n| format!("c-{n}")).collect());
}

/// A schema and a Kafka of a test's own.
struct Place {
    kafka: Private,
    schema: String,
    tables: Tables,
    directory: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let schema = format!("shop_{}", uuid::Uuid::new_v4().simple());
        let (kafka, tables) = (Private::start(&["kafka"]), Tables::new(&schema).await);
        Self { kafka, schema, tables, directory: tempfile::tempdir().unwrap() }
    }

    /// Starts a process that runs these parts.
    fn start(&self, parts: &str) -> Process {
        let store = url(&self.schema);
        let servers = [("CQRS_STORE", store.as_str()), ("CQRS_BROKER", self.kafka.url("kafka"))];
        Process::start(self.directory.path(), &servers, parts)
    }

    async fn end(self) {
        self.tables.end(&self.schema).await;
    }
}

/// In one process what follows from an order is done while others are placed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_on_postgresql_and_kafka_does_it_alone() {
    let place = Place::new().await;
    let tables = &place.tables;

    let shop = place.start(ALL);
    let (paid, cancelled) = buy(&shop);
    tables.until(MOVES, 2 * i64::try_from(paid).unwrap()).await;
    tables.until(OUTBOX, 0).await;
    tables.until("SELECT count(*) FROM cqrs_work", 0).await;
    assert_is_whole(tables, place.directory.path(), paid, cancelled).await;
    shop.terminate();

    // Started again, it finds everything as it was, and goes on.
    let shop = place.start(ALL);
    let (status, order) = shop.ask("GET", "/orders/o-0", "");
    assert_eq!((status, &order["status"]), (200, &json!("paid")), "{order}");
    let order = json!({"id": "o-30", "customer": "c-30", "lines": [{"sku": "tea", "quantity": 1}]}).to_string();
    assert_eq!(shop.ask("POST", "/orders", &order).0, 201);
    assert_eq!(shop.ask("POST", "/orders/o-30/pay", "{}").0, 200);
    let also_paid = pay_and_cancel(&shop);
    tables.until(MOVES, 2 * (i64::try_from(paid).unwrap() + also_paid) + 1).await;
    assert_eq!(tables.number(NOT_GONE).await, 0, "what was reserved has gone out");
    let wrong = "SELECT count(*) FROM orders JOIN unpaid USING (id) WHERE (status = 'paid') <> (cents = 0)";
    assert_eq!(tables.number(wrong).await, 0, "what is paid has its payment, and nothing else");
    shop.terminate();
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_on_postgresql_and_kafka_do_it_together() {
    let place = Place::new().await;
    let tables = &place.tables;

    let web = place.start("sagas");
    let (paid, cancelled) = buy(&web);
    let shipped = i64::try_from(paid).unwrap();
    assert_eq!(tables.number(OUTBOX).await, shipped, "nobody publishes yet");

    let relay = place.start("relay");
    tables.until(OUTBOX, 0).await;
    assert_eq!(tables.number(MOVES).await, 0, "nobody consumes yet");

    let consumers = place.start("work,group:stock");
    tables.until(MOVES, 2 * shipped).await;
    tables.until("SELECT count(*) FROM cqrs_work", 0).await;

    assert_is_whole(tables, place.directory.path(), paid, cancelled).await;

    // Any of them answers: what it knows is in the database.
    let (status, listed) = consumers.ask("GET", "/orders?limit=2", "");
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap()).collect();
    assert_eq!((status, ids), (200, vec!["o-29", "o-28"]));
    for process in [web, relay, consumers] {
        process.terminate();
    }
    place.end().await;
}
