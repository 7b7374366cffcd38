//! What the programs measure is not asked here: that they run against the servers, and tell as many rounds of both sides.
#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::process::Command;

use serde_json::Value;

fn assert_measures(program: &str, path: &str) {
    let output = Command::new(program).args([path, "--quick"]).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let told: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    for side in ["ours", "plain"] {
        let rounds = told[side].as_array().unwrap();
        assert!(rounds.len() == 3 && rounds.iter().all(|rate| rate.as_f64() > Some(0.0)), "{path}: {told}");
    }
}

#[test]
fn transactions_on_postgres() {
    assert_measures(env!("CARGO_BIN_EXE_postgres"), "tx.postgres");
    assert_measures(env!("CARGO_BIN_EXE_postgres"), "tx.postgres.8");
}

#[test]
fn the_relay_from_postgres_to_kafka() {
    assert_measures(env!("CARGO_BIN_EXE_relay"), "relay.postgres.kafka");
}

#[test]
fn consumption_from_kafka_into_postgres() {
    assert_measures(env!("CARGO_BIN_EXE_consume"), "consume.kafka.postgres");
    assert_measures(env!("CARGO_BIN_EXE_consume"), "consume.kafka.postgres.each");
}
