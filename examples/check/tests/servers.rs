//! Runs every example that has an `expected_with_servers.txt` against real servers, compares what it prints, and looks at what
//! it left there.
//!
//! The topics of an example are written in it, so the brokers are this test's own. In PostgreSQL it has a database.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics is a test that fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use cqrs_tests::services::{Private, postgres_url};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::metadata::MetadataPartition;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::runtime::Runtime;
use uuid::Uuid;

#[path = "cargo/mod.rs"]
mod cargo;

/// How long an example, or a server's answer, may take.
const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn those_with_kafka_do_what_they_say() {
    let servers = Private::start(&["kafka"]);
    let (kafka, database) = (servers.url("kafka"), Database::create());

    run("outbox_kafka", &[("CQRS_STORE", &database.url), ("CQRS_BROKER", kafka)]);
    let told: Vec<_> = all_of(kafka, "example_orders").into_iter().map(|record| (record.key, record.payload)).collect();
    let tea = |pieces: u32| ("tea".to_owned(), json!({ "item": "tea", "pieces": pieces }));
    assert_eq!(told, [tea(2), tea(3)], "what was committed, in order, and nothing of what was rolled back");

    let booked = ran("kafka_postgres", &[("CQRS_STORE", &database.url), ("CQRS_BROKER", kafka)]);
    let sent = all_of(kafka, "example_payments");
    assert_eq!(sent.len(), 2 * 500 + 10, "each payment came twice");
    for (at, end) in sent.iter().enumerate().filter(|(_, record)| record.payload.get("cents").is_none()) {
        let is_last = sent[at + 1..].iter().all(|record| record.key != end.key);
        assert!(is_last, "the example itself sent payments of `{}` behind the end of the month", end.key);
    }
    booked.is_expected();
    let twice =
        "SELECT count(*) FROM (SELECT FROM example_ledger GROUP BY account, cents HAVING count(*) > 1) AS doubled";
    let ledger = "SELECT (SELECT count(*) FROM example_ledger), (SELECT sum(cents)::bigint FROM example_ledger), \
                  (SELECT count(*) FROM kafka_postgres_inbox)";
    assert_eq!(database.ask::<(i64,)>(twice), (0,), "none was booked twice");
    assert_eq!(database.ask::<(i64, i64, i64)>(ledger), (500, 10 * 50 * 51 / 2, 510), "all were booked, and marked");

    run("own_consumer", &[("CQRS_BROKER", kafka)]);
    assert_eq!(all_of(kafka, "example_visits").len(), 5);
    assert_eq!(committed(kafka, "own_consumer", "example_visits"), 5, "the second loop committed all");

    run("read_model", &[("CQRS_BROKER", kafka)]);
    assert_eq!(all_of(kafka, "example_orders_of_customers").len(), 4);
}

#[test]
fn the_one_with_rabbitmq_does_what_it_says() {
    let servers = Private::start(&["amqp"]);
    run("amqp", &[("CQRS_BROKER", servers.url("amqp"))]);
}

#[test]
fn those_with_nats_do_what_they_say() {
    let servers = Private::start(&["nats"]);
    for name in ["nats", "read_model"] {
        run(name, &[("CQRS_BROKER", servers.url("nats"))]);
    }
    // Once more, with what the first run left on the server.
    run("nats", &[("CQRS_BROKER", servers.url("nats"))]);
}

#[test]
fn whoever_names_no_server_is_told_how() {
    for name in names() {
        let output = program(&name).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name}");
        for part in ["CQRS_", "is not set", "tests/services up", "docker compose up"] {
            assert!(said.contains(part), "`{name}` says {said}, and nothing of `{part}`");
        }
        let source = fs::read_to_string(examples().join(&name).join("src/main.rs")).unwrap();
        assert!(source.contains(&format!(" cargo run -p {name}")), "`{name}` does not say how it is run");
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn expected(name: &str) -> PathBuf {
    examples().join(name).join("expected_with_servers.txt")
}

/// The examples that this is about.
fn names() -> Vec<String> {
    let folders = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    folders.filter(|name| expected(name).exists()).collect()
}

/// All at once: built one by one, each would have the crate built anew with its own features.
fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--bins", "--message-format", "json"]).current_dir(examples());
        for name in names() {
            build.args(["--package", &name]);
        }
        cargo::outside(&mut build);
        let output = build.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "the examples do not build");
        let messages = String::from_utf8(output.stdout).unwrap();
        let mut messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let program = messages.find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
        program.expect("a program").parent().unwrap().to_owned()
    })
}

/// An example with none of this test's surroundings.
fn program(name: &str) -> Command {
    let mut program = Command::new(programs().join(name));
    program.current_dir(examples()).stdin(Stdio::null());
    for variable in ["CQRS_STORE", "CQRS_BROKER"] {
        program.env_remove(variable);
    }
    program
}

/// Runs an example to its end, and compares what it prints.
fn run(name: &str, variables: &[(&str, &str)]) {
    ran(name, variables).is_expected();
}

/// What an example has printed.
struct Ran<'n> {
    name: &'n str,
    printed: String,
    said: String,
}

impl Ran<'_> {
    fn is_expected(&self) {
        let Self { name, printed, said } = self;
        assert_eq!(*printed, fs::read_to_string(expected(name)).unwrap(), "`{name}` says besides: {said}");
    }
}

/// Runs an example to its end.
fn ran<'n>(name: &'n str, variables: &[(&str, &str)]) -> Ran<'n> {
    let mut child = program(name);
    let child = child.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let (id, (ended, end)) = (child.id(), std::sync::mpsc::channel::<()>());
    // One that waits for what never comes is ended, so that it is seen how far it got.
    let guard = thread::spawn(move || {
        if end.recv_timeout(PATIENCE).is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").arg(id.to_string()).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    guard.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (printed, said) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "`{name}` failed: {}\n{printed}{said}", output.status);
    Ran { name, printed, said }
}

struct Record {
    key: String,
    payload: Value,
}

/// What is in a topic, read by a plain consumer from its beginning to its end.
fn all_of(kafka: &str, topic: &str) -> Vec<Record> {
    let consumer = consumer(kafka, &Uuid::new_v4().to_string());
    let ends: i64 =
        partitions(&consumer, topic).map(|number| consumer.fetch_watermarks(topic, number, PATIENCE).unwrap().1).sum();
    consumer.subscribe(&[topic]).unwrap();
    let (mut records, begun) = (Vec::new(), Instant::now());
    while records.len() < usize::try_from(ends).unwrap() && begun.elapsed() < PATIENCE {
        records.extend(consumer.poll(Duration::from_millis(100)).map(|message| record(&message.unwrap())));
    }
    records
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
    let body: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
    for header in
        message.headers().into_iter().flat_map(|headers| headers.iter()).filter(|header| header.key == "event_name")
    {
        assert_eq!(header.value.unwrap(), body["event_name"].as_str().unwrap().as_bytes());
    }
    Record { key, payload: body["payload"].clone() }
}

/// How many messages of a topic a group has behind it.
fn committed(kafka: &str, group: &str, topic: &str) -> i64 {
    let consumer = consumer(kafka, group);
    let mut list = TopicPartitionList::new();
    for number in partitions(&consumer, topic) {
        list.add_partition(topic, number);
    }
    let offsets = consumer.committed_offsets(list, PATIENCE).unwrap();
    offsets
        .elements()
        .iter()
        .map(|element| if let Offset::Offset(offset) = element.offset() { offset } else { 0 })
        .sum()
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> impl Iterator<Item = i32> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let numbers: Vec<_> = metadata.topics()[0].partitions().iter().map(MetadataPartition::id).collect();
    numbers.into_iter()
}

fn consumer(kafka: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", kafka.trim_start_matches("kafka://"))
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap()
}

/// A database of this test's own, which ends with it.
struct Database {
    name: String,
    url: String,
    runtime: Runtime,
}

impl Database {
    fn create() -> Self {
        let name = format!("examples_{}", Uuid::new_v4().simple());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let given = postgres_url();
        let (server, parameters) =
            given.split_once('?').map_or((&*given, ""), |(server, parameters)| (server, parameters));
        let url = format!("{}/{name}?{parameters}", server.rsplit_once('/').unwrap().0);
        let database = Self { name, url, runtime };
        database.execute("CREATE DATABASE", "");
        database
    }

    fn execute(&self, verb: &str, rest: &str) {
        let statement = format!("{verb} {} {rest}", self.name);
        self.runtime.block_on(async {
            let mut server = PgConnection::connect(&postgres_url()).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut server).await.unwrap();
        });
    }

    /// The one row that a query gives.
    fn ask<R: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin>(&self, query: &'static str) -> R {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_as(query).fetch_one(&mut connection).await.unwrap()
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.execute("DROP DATABASE", "WITH (FORCE)");
    }
}
