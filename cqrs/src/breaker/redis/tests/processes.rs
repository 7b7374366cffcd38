//! Real processes that share a breaker.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::{LONG, Redis, breakers, client, opened_for_a_moment, opens_for};
use crate::breaker::{Breakers, Permit};

/// Where a process that this test starts finds what it shares.
const URL: &str = "CQRS_TEST_BREAKER_URL";
const PREFIX: &str = "CQRS_TEST_BREAKER_PREFIX";
const CHILD: &str = "breaker::redis::tests::processes::a_process_that_shares_a_breaker";

/// What each process does: asks, with many calls at once, says how many were let in, and waits to be told to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of another test, which starts it several times"]
async fn a_process_that_shares_a_breaker() {
    let (Ok(url), Ok(prefix)) = (std::env::var(URL), std::env::var(PREFIX)) else {
        panic!("another test starts this one, and sets {URL} and {PREFIX}");
    };
    let breaker = client(&Breakers::redis(url).prefix(prefix).timeout(LONG), opens_for(LONG));
    let calls = (0..50).map(|_| breaker.admit());
    // Kept until the end: a trial's place is not given back.
    let admitted = futures_util::future::join_all(calls).await;
    let count = admitted.iter().filter(|admitted| admitted.as_ref().is_ok_and(Permit::is_trial)).count();
    let passed = admitted.iter().filter(|admitted| admitted.is_ok()).count();
    println!("\ntrials {count} of {passed}");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("told to end");
}

fn start(url: &str, prefix: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .env(URL, url)
        .env(PREFIX, prefix)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program starts")
}

#[tokio::test]
async fn of_all_calls_of_four_processes_one_is_the_trial() {
    let redis = Redis::any();
    let prefix = format!("test-{}", uuid::Uuid::now_v7());
    opened_for_a_moment(redis.url(), &breakers(redis.url()).prefix(&prefix)).await;
    let mut processes: Vec<Child> = (0..4).map(|_| start(redis.url(), &prefix)).collect();
    let mut said: Vec<String> = Vec::new();
    for process in &mut processes {
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let line = output.lines().map_while(Result::ok).find(|line| line.starts_with("trials "));
        said.push(line.expect("each process says how many calls were let in"));
    }
    for mut process in processes {
        process.stdin.take().expect("piped").write_all(b"end\n").expect("it listens");
        process.wait().expect("it ends");
    }
    said.sort();
    assert_eq!(said, ["trials 0 of 0", "trials 0 of 0", "trials 0 of 0", "trials 1 of 1"]);
}
