//! What is started ends, and nothing else does.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cqrs_tests::services::Private;

use crate::support::{Directory, Sleeper, address, listens, pid};

#[test]
fn a_set_ends_with_its_value_also_when_the_test_panics() {
    let set = Private::start(&["redis", "nats"]);
    let (redis, directory) = (address(set.url("redis")), set.directory().to_owned());
    assert!(listens(redis) && directory.exists());
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _set = set;
        panic!("a test fails");
    }));
    assert!(panicked.is_err());
    assert!(!listens(redis) && !directory.exists());
}

#[test]
fn a_frozen_server_ends_too() {
    let set = Private::start(&["redis"]);
    let redis = address(set.url("redis"));
    set.pause("redis");
    drop(set);
    assert!(!listens(redis));
}

#[test]
fn the_set_of_a_process_that_has_ended_is_removed_by_the_next_up() {
    let abandoned = Directory::new("abandoned");
    let owner = Sleeper::start();
    let (up, said) = abandoned.call("up", &["--owner", &owner.pid(), "redis"], &[]);
    assert!(up, "{said}");
    let url = redis_url(&abandoned);

    drop(Private::start(&["nats"]));
    assert!(listens(address(&url)), "its owner lives");

    drop(owner);
    drop(Private::start(&["nats"]));
    assert!(!listens(address(&url)) && !abandoned.path().exists());
}

#[test]
fn servers_whose_directory_was_removed_are_ended_by_the_next_up() {
    let removed = Directory::new("removed");
    let (up, said) = removed.call("up", &["redis"], &[]);
    assert!(up, "{said}");
    let url = redis_url(&removed);
    fs::remove_dir_all(removed.path()).unwrap();
    drop(Private::start(&["nats"]));
    assert!(!listens(address(&url)));
}

#[test]
fn a_process_that_has_the_id_of_a_server_by_chance_is_left_alone() {
    let set = Private::start(&["redis", "nats"]);
    let mut other = Sleeper::start();
    set.kill("redis");
    fs::write(set.directory().join("redis/pid"), other.pid()).unwrap();
    set.stop("redis");
    set.start_again("redis");
    assert_ne!(pid(&set, "redis"), other.pid());
    set.kill("nats");
    fs::write(set.directory().join("nats/pid"), other.pid()).unwrap();
    drop(set);
    assert!(other.lives());
}

#[test]
fn up_starts_what_died_and_leaves_what_runs() {
    let set = Directory::new("died");
    assert!(set.call("up", &["redis", "nats"], &[]).0);
    let pid = |name: &str| fs::read_to_string(set.path().join(name).join("pid")).unwrap();
    let before = (pid("redis"), pid("nats"));
    let environment = set.call("env", &[], &[]);
    assert!(set.call("stop", &["--kill", "nats"], &[]).0);
    let (up, said) = set.call("up", &["redis", "nats"], &[]);
    assert!(up && said.contains("redis is up") && said.contains("nats started again"), "{said}");
    assert_eq!(before.0, pid("redis"));
    assert_ne!(before.1, pid("nats"));
    assert_eq!(environment, set.call("env", &[], &[]));
}

#[test]
fn a_directory_with_other_things_in_it_is_not_touched() {
    let place = tempfile::tempdir().unwrap();
    let thing = place.path().join("redis");
    fs::write(&thing, "mine").unwrap();
    let arguments = ["--in", place.path().to_str().unwrap()];
    // The last directory that is named counts.
    let set = Directory::new("unused");
    let (up, said) = set.call("up", &[&arguments[..], &["redis"]].concat(), &[]);
    assert!(!up && said.contains("not empty"), "{said}");
    set.call("down", &arguments, &[]);
    assert_eq!(fs::read_to_string(thing).unwrap(), "mine");
}

fn redis_url(set: &Directory) -> String {
    let (_, environment) = set.call("env", &[], &[]);
    let line = environment.lines().find(|line| line.contains("CQRS_TEST_REDIS_URL")).expect("a line");
    line.split('\'').nth(1).expect("a value").to_owned()
}
