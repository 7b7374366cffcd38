//! Servers that run already.

use std::net::TcpListener;

use crate::support::{Directory, Sleeper, address};

const NAMES: [&str; 6] = ["POSTGRES", "MYSQL", "REDIS", "AMQP", "NATS", "KAFKA"];

/// Variables that name one and the same place as every server.
fn all_at(port: u16) -> Vec<(String, String)> {
    NAMES.map(|name| (format!("CQRS_TEST_{name}_URL"), format!("x://me:secret@127.0.0.1:{port}/y"))).into()
}

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, String)> {
    variables.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
}

#[test]
fn a_server_whose_variable_is_set_is_not_started_and_env_repeats_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let given = all_at(listener.local_addr().unwrap().port());
    let set = Directory::new("given");
    let (up, said) = set.call("up", &[], &borrowed(&given));
    assert!(up && said.matches("is set, using that").count() == NAMES.len(), "{said}");
    assert!(!said.contains("started"), "{said}");
    let (_, environment) = set.call("env", &[], &borrowed(&given));
    for (name, value) in &given {
        assert!(environment.contains(&format!("export {name}='{value}'\n")), "{environment}");
    }
}

#[test]
fn a_variable_that_names_a_place_where_nothing_listens_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let set = Directory::new("nobody");
    let (up, said) = set.call("up", &[], &borrowed(&all_at(port)));
    assert!(!up && said.contains("where nothing listens") && said.contains("unset CQRS_TEST_POSTGRES_URL"), "{said}");
}

#[test]
fn a_server_that_is_named_is_started_whatever_is_set() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let given = all_at(listener.local_addr().unwrap().port());
    let set = Directory::new("named");
    let (up, said) = set.call("up", &["redis"], &borrowed(&given));
    assert!(up && said.contains("redis started"), "{said}");
    let (_, environment) = set.call("env", &[], &borrowed(&given));
    assert!(environment.contains("export CQRS_TEST_REDIS_URL='redis://127.0.0.1:"), "{environment}");
}

#[test]
fn a_server_that_cannot_start_is_named_with_the_end_of_its_log_and_the_others_run() {
    let set = Directory::new("wrong");
    let owner = Sleeper::start();
    let arguments = ["--owner", &owner.pid(), "--set", "redis", "no-such-setting 1", "redis", "nats"];
    let (up, said) = set.call("up", &arguments, &[]);
    assert!(!up && said.contains("no-such-setting") && said.contains("not started: redis"), "{said}");
    assert!(said.contains("nats started"), "{said}");
    assert!(!set.call("env", &[], &[]).1.contains("REDIS"));
}

#[test]
fn a_server_that_does_not_exist_is_refused() {
    let (up, said) = Directory::new("unknown").call("up", &["oracle"], &[]);
    assert!(!up && said.contains("no such server: oracle"), "{said}");
}

#[test]
fn the_lines_of_compose_name_what_it_starts() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let compose = std::fs::read_to_string(format!("{root}/compose.yaml")).unwrap();
    for name in NAMES {
        let start = format!("export CQRS_TEST_{name}_URL='");
        let url = compose.split(&start).nth(1).expect("a line").split('\'').next().expect("a URL");
        let port = address(url).port();
        assert!(compose.contains(&format!("ports: [\"127.0.0.1:{port}:")), "{url}");
    }
    let pom = std::fs::read_to_string(format!("{root}/tests/servers/kafka.pom.xml")).unwrap();
    let kafka = compose.split("image: apache/kafka:").nth(1).expect("an image").lines().next().expect("a version");
    assert!(pom.contains(&format!("<version>{kafka}</version>")), "{kafka}");
}
