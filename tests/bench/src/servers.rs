//! What needs real servers. Each kind of transaction is measured by a program of its own (package `bench-servers`), since what
//! is linked into a program is wired in it; this runs them and reads what they tell.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::harness::{Bench, Report, Scale, or_exit};

pub(crate) fn benches() -> Vec<Bench> {
    vec![
        Bench { path: "tx.postgres", run: |path, scale| report("postgres", path, scale, "tx/s") },
        Bench { path: "tx.postgres.8", run: |path, scale| report("postgres", path, scale, "tx/s") },
        Bench { path: "saga.postgres", run: |path, scale| report("sagas", path, scale, "sagas/s") },
        Bench { path: "saga.postgres.8", run: |path, scale| report("sagas", path, scale, "sagas/s") },
        Bench { path: "saga.postgres.rows", run: |path, scale| report("saga_rows", path, scale, "sagas/s") },
        Bench { path: "saga.postgres.rows.8", run: |path, scale| report("saga_rows", path, scale, "sagas/s") },
        Bench { path: "saga.memory", run: |path, scale| report("sagas", path, scale, "sagas/s") },
        Bench { path: "saga.recovery", run: |path, scale| report("sagas", path, scale, "sagas/s") },
        Bench { path: "saga.waiting", run: |path, scale| costs("waiting", path, scale, "ms") },
        Bench { path: "consume.kafka.postgres", run: |path, scale| report("consume", path, scale, "msg/s") },
        Bench { path: "consume.kafka.postgres.each", run: |path, scale| report("consume", path, scale, "msg/s") },
        Bench { path: "tx.mariadb", run: |path, scale| report("mariadb", path, scale, "tx/s") },
        Bench { path: "tx.mariadb.8", run: |path, scale| report("mariadb", path, scale, "tx/s") },
        Bench { path: "relay.postgres.kafka", run: |path, scale| report("relay", path, scale, "msg/s") },
        Bench { path: "relay.mariadb.kafka", run: |path, scale| report("relay", path, scale, "msg/s") },
        Bench { path: "relay.sqlite.memory", run: |path, scale| report("relay", path, scale, "msg/s") },
        Bench { path: "backlog", run: |path, scale| report("backlog", path, scale, "msg/s") },
        Bench { path: "latency", run: |path, scale| costs("latency", path, scale, "ms") },
        Bench { path: "idle", run: |path, scale| costs("idle", path, scale, "q/s") },
    ]
}

/// Rounds, as the programs tell them.
#[derive(Deserialize)]
struct Rates {
    ours: Vec<f64>,
    plain: Vec<f64>,
    peers: BTreeMap<String, Vec<f64>>,
    also: BTreeMap<String, f64>,
}

fn report(program: &str, path: &'static str, scale: Scale, unit: &'static str) -> Report {
    let Rates { ours, plain, peers, also } = or_exit(run(program, path, scale));
    Report::of_rates(path, unit, ours, plain).beside(peers).with(also)
}

/// Where less is better.
fn costs(program: &str, path: &'static str, scale: Scale, unit: &'static str) -> Report {
    let Rates { ours, plain, also, .. } = or_exit(run(program, path, scale));
    Report::of_costs(path, unit, ours, plain, None).with(also)
}

fn run(program: &str, path: &str, scale: Scale) -> Result<Rates> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "-q", "--release", "-p", "bench-servers", "--bin", program, "--", path]);
    if scale.quick {
        cargo.arg("--quick");
    }
    if scale.peers {
        cargo.arg("--peers");
    }
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(Error::other(format!("{path}: its program failed, {}", output.status)));
    }
    let last = printed.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|error| Error::other(format!("{path}: `{last}` are no rounds: {error}")))
}
