//! A backlog of events that comes to several times of what a process may take of memory for it.

use std::env;
use std::path::Path;

use cqrs::prelude::*;
use cqrs_tests::services;
use tokio::signal::unix::{SignalKind, signal};

use crate::program::STORE;
use crate::world::{Process, World, of_this_binary};

const ROWS: u64 = 25_000;
/// The bytes of each: what costs time is their number.
const LOAD: u64 = 16 * 1024;
/// Four times of it may be under way at once.
const BATCH: &str = "relay.batch = 250";
/// What all of them come to is more than three times of it; what a relay holds is 16 MiB, as much again while it is read and sent, and as
/// much is what the broker remembers.
const MOST_KIB: u64 = 128 * 1024;

const LEFT: &str = "SELECT COUNT(*) FROM cqrs_outbox";

/// A process of its own, whose memory is measured.
#[test]
#[ignore = "the other tests start it"]
fn life() {
    let Ok(store) = env::var(STORE) else { return };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut told_to_end = signal(SignalKind::terminate()).unwrap();
        let app = cqrs::bootstrap!()
            .settings(Settings::from_toml(BATCH).unwrap())
            .store(Store::url(store))
            .broker(Broker::devnull())
            .run(["relay"])
            .await
            .unwrap();
        app.run_until(async move {
            told_to_end.recv().await;
        })
        .await
        .unwrap();
    });
}

fn start(world: &World, directory: &Path) -> Process {
    let mut program = of_this_binary("backlog::life");
    program.env(STORE, &world.store);
    Process::start(program, directory)
}

/// Rows of a hundred keys, all committed at once.
fn fill(store: &str) -> String {
    let columns = "id, name, version, topic, message_key, payload, headers, raised_at, due_at";
    let same = "'stepped', 1, 'steps'";
    match store.split_once(':').map_or(store, |(scheme, _)| scheme) {
        "sqlite" => format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROWS})
            INSERT INTO cqrs_outbox ({columns}) SELECT randomblob(16), {same}, n % 100, zeroblob({LOAD}), '{{}}', 1, 1 FROM n"
        ),
        "mysql" => format!(
            "INSERT INTO cqrs_outbox ({columns}, lane, shard)
            SELECT UNHEX(MD5(seq)), {same}, seq % 100, REPEAT('x', {LOAD}), '{{}}', 1, 1, seq % 100, seq % 100 % 16
            FROM seq_1_to_{ROWS}"
        ),
        _ => format!(
            "INSERT INTO cqrs_outbox ({columns}, shard)
            SELECT gen_random_uuid(), {same}, n % 100, convert_to(repeat('x', {LOAD}), 'UTF8'), '{{}}', 1, 1, n % 100 % 16
            FROM generate_series(1, {ROWS}) AS n"
        ),
    }
}

async fn is_relayed_in_flat_memory(store: &str) {
    const { assert!(ROWS * LOAD > 3 * MOST_KIB * 1024) };
    let world = World::new(store, "", 0).await;
    let process = start(&world, world.directory());
    // Once it has made its tables, and found nothing in them.
    assert_eq!(world.count(LEFT).await, 0);
    let before = process.most_memory();
    world.execute(fill(store)).await;
    world.empties(LEFT).await;
    let took = process.most_memory() - before;
    assert!(took < MOST_KIB, "{took} KiB were taken, from {before} on");
    process.stop(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_that_is_larger_than_memory_is_relayed_in_flat_memory_from_postgresql() {
    is_relayed_in_flat_memory(&services::postgres_url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_that_is_larger_than_memory_is_relayed_in_flat_memory_from_mariadb() {
    is_relayed_in_flat_memory(&services::mysql_url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_that_is_larger_than_memory_is_relayed_in_flat_memory_from_sqlite() {
    is_relayed_in_flat_memory("sqlite").await;
}
