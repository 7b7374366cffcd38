//! Runs every example that has an `expected.txt`, as a newcomer would, and compares what it prints. Those that need servers are
//! run by `servers.rs`.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

#[path = "cargo/mod.rs"]
mod cargo;

/// What is not run by itself, or has no `expected.txt`, and why: what such an example does is tested elsewhere.
const WITHOUT: [(&str, &str); 4] = [
    ("check", "it is this"),
    ("saga_recovery", "it is killed: see the test of its script"),
    ("shared_breaker", "see the test with a Redis"),
    ("shop", "a service; it has tests of its own"),
];

#[test]
fn every_example_prints_what_it_says() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = names(&examples).unwrap();
    names.retain(|name| WITHOUT.iter().all(|(without, _)| without != name));
    names.retain(|name| !examples.join(name).join("expected_with_servers.txt").exists());
    let silent: Vec<_> = names.iter().filter(|name| !examples.join(name).join("expected.txt").exists()).collect();
    assert!(silent.is_empty(), "these do not say what they print, in a file `expected.txt`: {silent:?}");

    let wrong: Vec<_> = names.iter().filter_map(|name| difference(&examples, name).unwrap()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readme_names_every_example() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(examples.join("../README.md")).unwrap();
    let is_named = |name: &String| {
        name == "check" || readme.contains(&format!("`{name}`")) || readme.contains(&format!("-p {name}`"))
    };
    let missing: Vec<_> = names(&examples).unwrap().into_iter().filter(|name| !is_named(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// An example that needs a server is given one.
#[test]
fn the_shared_breaker_does_what_it_says() {
    let redis = cqrs_tests::redis::Redis::any();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut run = cargo_run(&examples, "shared_breaker");
    let wrong = compared(&examples, "shared_breaker/expected_with_redis.txt", run.env("CQRS_REDIS_URL", redis.url()));
    assert_eq!(wrong.unwrap(), None);
}

/// A script starts and kills this one, as a person would.
#[test]
fn the_saga_that_is_killed_does_what_it_says() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut run = Command::new(examples.join("saga_recovery/crash.sh"));
    cargo::outside(&mut run);
    assert_eq!(compared(&examples, "saga_recovery/expected.txt", &mut run).unwrap(), None);
}

/// The packages below `examples`.
fn names(examples: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(examples)? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").exists() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// What is wrong with an example, if anything is.
fn difference(examples: &Path, name: &str) -> io::Result<Option<String>> {
    compared(examples, &format!("{name}/expected.txt"), &mut cargo_run(examples, name))
}

fn cargo_run(examples: &Path, name: &str) -> Command {
    let mut run = Command::new(env!("CARGO"));
    run.args(["run", "--quiet", "--package", name]).current_dir(examples);
    cargo::outside(&mut run);
    run
}

fn compared(examples: &Path, name: &str, run: &mut Command) -> io::Result<Option<String>> {
    let run = run.output()?;
    let printed = String::from_utf8_lossy(&run.stdout);
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        return Ok(Some(format!("`{name}` failed: {}\n{printed}{said}", run.status)));
    }
    let expected = fs::read_to_string(examples.join(name))?;
    Ok((printed != expected).then(|| format!("`{name}` printed\n{printed}instead of\n{expected}")))
}
