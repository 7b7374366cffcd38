//! Servers are broken and come back as they were.

use std::thread;

use cqrs_tests::services::Private;

use crate::support::{address, greeting, listens, pid, redis, signal};

const SETTINGS: [(&str, &str); 2] = [("redis", "maxmemory 7mb"), ("nats", "max_payload: 4096")];

#[test]
fn a_server_that_is_stopped_or_killed_comes_back_with_its_data_and_on_its_port() {
    let set = Private::start(&["redis"]);
    let answer = redis(&set, "SET a 1").unwrap();
    assert!(answer.starts_with("+OK"), "{answer}");
    let ways: [fn(&Private); 5] = [
        |set| set.kill("redis"),
        |set| set.stop("redis"),
        |set| signal("KILL", &pid(set, "redis")),
        |set| {
            set.pause("redis");
            set.kill("redis");
        },
        |set| {
            set.pause("redis");
            set.stop("redis");
        },
    ];
    for end in ways {
        end(&set);
        let before = pid_or_none(&set);
        set.start_again("redis");
        assert_ne!(before, pid_or_none(&set));
        assert!(redis(&set, "GET a").unwrap().starts_with("$1\r\n1"));
    }
    let before = pid(&set, "redis");
    set.restart("redis");
    assert_ne!(before, pid(&set, "redis"));
    assert!(redis(&set, "GET a").unwrap().starts_with("$1\r\n1"));
    set.stop("redis");
    assert!(!listens(address(set.url("redis"))));
}

#[test]
fn a_frozen_server_answers_nothing_until_it_goes_on() {
    let set = Private::start(&["redis"]);
    set.pause("redis");
    // The machine still accepts the connection for it.
    let silence = redis(&set, "PING").unwrap_err();
    assert!(matches!(silence.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{silence}");
    set.resume("redis");
    assert!(redis(&set, "PING").unwrap().starts_with("+PONG"));
}

#[test]
fn all_processes_of_a_frozen_postgres_stand_still_and_a_killed_one_starts_again() {
    let set = Private::start(&["postgres"]);
    let states = || {
        let pid = pid(&set, "postgres");
        let output = std::process::Command::new("ps").args(["-o", "stat=", "--pid", &pid, "--ppid", &pid]).output();
        String::from_utf8(output.expect("ps").stdout).expect("text")
    };
    set.pause("postgres");
    // A process that runs on another core takes notice a little later.
    let all_stopped = |frozen: &str| frozen.lines().all(|state| state.starts_with('T'));
    let frozen = (0..50)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            states()
        })
        .find(|frozen| all_stopped(frozen))
        .unwrap_or_else(states);
    assert!(frozen.lines().count() > 3 && frozen.lines().all(|state| state.starts_with('T')), "{frozen}");
    set.resume("postgres");
    assert!(!states().contains('T'));
    // Only the first of its processes: the others notice later.
    signal("KILL", &pid(&set, "postgres"));
    set.start_again("postgres");
    assert!(listens(address(set.url("postgres"))));
}

#[test]
fn servers_are_started_with_settings_and_speak_tls() {
    let set = Private::with_settings(&["redis", "nats"], &SETTINGS);
    assert!(redis(&set, "CONFIG GET maxmemory").unwrap().contains("7340032"));
    let greeting = greeting(&set);
    assert!(greeting.contains("\"max_payload\":4096") && greeting.contains("\"tls_available\":true"), "{greeting}");
    assert!(listens(address(set.tls_url("redis"))));
    assert!(std::fs::read_to_string(set.tls_ca()).unwrap().contains("BEGIN CERTIFICATE"));
}

#[test]
fn sets_that_start_at_once_do_not_meet() {
    let sets: Vec<_> = (0..3).map(|_| thread::spawn(|| Private::start(&["redis", "nats"]))).collect();
    let sets: Vec<_> = sets.into_iter().map(|set| set.join().unwrap()).collect();
    for (number, set) in sets.iter().enumerate() {
        redis(set, &format!("SET who {number}")).unwrap();
    }
    for (number, set) in sets.iter().enumerate() {
        assert!(redis(set, "GET who").unwrap().starts_with(&format!("$1\r\n{number}")));
    }
}

fn pid_or_none(set: &Private) -> Option<String> {
    std::fs::read_to_string(set.directory().join("redis/pid")).ok()
}
