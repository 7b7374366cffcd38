//! What the program measures is not asked here: that it runs, measures what it is told to, and writes what its page says.
#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().unwrap()
}

/// The lines that are written for some paths, each with the keys that the page names.
fn measured(paths: &[&str]) -> Vec<Value> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = bench(&[paths, &["--quick", "--json", file.path().to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let written = std::fs::read_to_string(file.path()).unwrap();
    let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(printed.lines().count(), lines.len(), "{printed}");
    for (line, printed) in lines.iter().zip(printed.lines()) {
        let keys: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["path", "ours", "plain", "unit", "ratio", "rounds", "allocations"]));
        assert!(
            ["ours", "plain", "ratio"].iter().all(|key| line[*key].as_f64().is_some_and(|value| value > 0.0)),
            "{line}"
        );
        assert!(line["rounds"].as_u64() > Some(0) && line["unit"].is_string(), "{line}");
        assert!(printed.starts_with(line["path"].as_str().unwrap()), "{printed}");
    }
    lines
}

fn paths_of(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["path"].as_str().unwrap()).collect()
}

/// All but those that compile crates, and those that programs of the package `bench-servers` measure: its tests run them.
#[test]
fn every_path_that_compiles_nothing_runs_and_reports() {
    let lines = measured(&["dispatch", "chain", "stream", "breaker", "sse", "tx.sqlite", "consume.sqlite"]);
    let expected = [
        "dispatch",
        "dispatch.bare",
        "dispatch.query",
        "dispatch.event",
        "dispatch.middleware.1",
        "dispatch.middleware.3",
        "chain",
        "stream",
        "breaker",
        "breaker.policy",
        "sse",
        "tx.sqlite",
        "consume.sqlite",
        "consume.sqlite.each",
    ];
    assert_eq!(paths_of(&lines), expected);
}

#[test]
fn a_path_selects_itself_and_what_is_below_it() {
    assert_eq!(paths_of(&measured(&["dispatch.bare"])), ["dispatch.bare"]);
    assert_eq!(paths_of(&measured(&["dispatch.middleware"])), ["dispatch.middleware.1", "dispatch.middleware.3"]);
    assert_eq!(paths_of(&measured(&["breaker.policy", "chain"])), ["chain", "breaker.policy"]);
}

#[test]
fn an_unknown_path_is_an_error_that_names_all() {
    for unknown in ["dispatch.bar", "dispatc", "."] {
        let output = bench(&[unknown, "--quick"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{unknown}: {said}");
        assert!(said.contains("no such path; the paths are: dispatch, dispatch.bare, "), "{unknown}: {said}");
        assert!(said.contains("build.check"), "{unknown}: {said}");
    }
}
