//! What the programs measure is not asked here: that they run against the servers, and tell as many rounds of both sides.
#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::process::Command;
use std::sync::{PoisonError, RwLock};

use serde_json::Value;

/// Held by who counts all that a server does.
static ALONE: RwLock<()> = RwLock::new(());

fn measured(program: &str, path: &str) -> Value {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    run(program, path)
}

fn run(program: &str, path: &str) -> Value {
    let output = Command::new(program).args([path, "--quick"]).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let told: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    for side in ["ours", "plain"] {
        let rounds = told[side].as_array().unwrap();
        assert!(rounds.len() == 3 && rounds.iter().all(|rate| rate.as_f64() > Some(0.0)), "{path}: {told}");
    }
    told
}

fn assert_measures(program: &str, path: &str) {
    measured(program, path);
}

#[test]
fn transactions_on_postgres() {
    assert_measures(env!("CARGO_BIN_EXE_postgres"), "tx.postgres");
    assert_measures(env!("CARGO_BIN_EXE_postgres"), "tx.postgres.8");
}

#[test]
fn sagas_on_postgres() {
    let told = {
        let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
        run(env!("CARGO_BIN_EXE_sagas"), "saga.postgres")
    };
    assert!(told["also"]["commits"].as_f64().unwrap() <= 5.0, "{told}");
    assert_measures(env!("CARGO_BIN_EXE_sagas"), "saga.postgres.8");
}

#[test]
fn sagas_in_memory_and_taken_up_after_a_crash() {
    assert_measures(env!("CARGO_BIN_EXE_sagas"), "saga.memory");
    let told = measured(env!("CARGO_BIN_EXE_sagas"), "saga.recovery");
    assert!(told["also"]["seconds"].as_f64() > Some(0.0), "{told}");
}

#[test]
fn sagas_that_wait() {
    let told = measured(env!("CARGO_BIN_EXE_waiting"), "saga.waiting");
    for what in ["p99", "plain_p99", "scan_ms"] {
        assert!(told["also"][what].as_f64() > Some(0.0), "{what}: {told}");
    }
}

#[test]
fn transactions_on_mariadb() {
    assert_measures(env!("CARGO_BIN_EXE_mariadb"), "tx.mariadb");
    assert_measures(env!("CARGO_BIN_EXE_mariadb"), "tx.mariadb.8");
}

#[test]
fn the_relay_from_postgres_to_kafka() {
    assert_measures(env!("CARGO_BIN_EXE_relay"), "relay.postgres.kafka");
}

#[test]
fn the_relay_from_mariadb_to_kafka_and_from_sqlite_to_memory() {
    assert_measures(env!("CARGO_BIN_EXE_relay"), "relay.mariadb.kafka");
    assert_measures(env!("CARGO_BIN_EXE_relay"), "relay.sqlite.memory");
}

#[test]
fn a_backlog() {
    let told = measured(env!("CARGO_BIN_EXE_backlog"), "backlog");
    for what in ["start", "middle", "end", "rows", "resident MiB", "peak MiB"] {
        assert!(told["also"][what].as_f64() > Some(0.0), "{what}: {told}");
    }
}

#[test]
fn from_commit_to_handler() {
    let told = measured(env!("CARGO_BIN_EXE_latency"), "latency");
    for (half, most) in [("ours", "p99"), ("plain", "plain p99")] {
        let least = told[half].as_array().unwrap().iter().filter_map(Value::as_f64).fold(f64::MAX, f64::min);
        assert!(told["also"][most].as_f64() >= Some(least), "{told}");
    }
}

/// A count, not a speed: a slow machine asks less often. The goal is five, which the page of the measurements says is missed; a
/// loop that turned without a pause, or one more that asks as often, would be over this.
#[test]
fn an_idle_app_asks_at_most_five_times_a_second() {
    let told = measured(env!("CARGO_BIN_EXE_idle"), "idle");
    for count in told["ours"].as_array().unwrap() {
        assert!(count.as_f64() <= Some(5.0), "{told}");
    }
}

#[test]
fn consumption_from_kafka_into_postgres() {
    assert_measures(env!("CARGO_BIN_EXE_consume"), "consume.kafka.postgres");
    assert_measures(env!("CARGO_BIN_EXE_consume"), "consume.kafka.postgres.each");
}
