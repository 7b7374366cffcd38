//! Several clients of one breaker.

use std::sync::Arc;
use std::time::Duration;

use cqrs_tests::redis::RedisServer;
use futures_util::future::join_all;
use tracing::Level;

use super::{
    LONG, MILLI, Redis, breakers, client, fail, key, opened_for_a_moment, opens_for, redis_and_breakers, refused, run,
    stands, succeed, until,
};
use crate::breaker::{BreakerOptions, BreakerPhase, Breakers, Permit};
use crate::logged::Log;

#[tokio::test]
async fn what_one_process_finds_broken_none_calls() {
    let (_redis, breakers) = redis_and_breakers();
    let (here, there) = (client(&breakers, opens_for(LONG)), client(&breakers, opens_for(LONG)));
    let log = Log::new();
    fail(&here).await;
    fail(&there).await;
    for breaker in [&here, &there] {
        let open = refused(breaker).await;
        assert!(open.retry_after > LONG / 2, "{open:?}");
        let state = breaker.state();
        assert_eq!((state.name.as_str(), state.phase, state.failures), ("bank", BreakerPhase::Open, 2));
        assert!(state.trial_in.is_some_and(|left| left > LONG / 2), "{state:?}");
    }
    assert_eq!(log.lines(Level::WARN, "circuit breaker open").len(), 2, "each process tells of it once");
}

#[tokio::test]
async fn a_success_in_one_process_takes_back_the_failure_in_another() {
    let (redis, breakers) = redis_and_breakers();
    let (here, there) = (client(&breakers, opens_for(LONG)), client(&breakers, opens_for(LONG)));
    let failures = async || run::<Option<u32>>(redis.url(), &["HGET", &key(&breakers), "failures"]).await;
    for _ in 0..3 {
        fail(&here).await;
        until("the failure is told", async || (failures().await == Some(1)).then_some(())).await;
        until("the success is told", async || {
            succeed(&there).await;
            (failures().await == Some(0)).then_some(())
        })
        .await;
    }
    assert_eq!(here.state().phase, BreakerPhase::Closed);
}

#[tokio::test]
async fn in_a_window_a_success_takes_nothing_back() {
    let (_redis, breakers) = redis_and_breakers();
    let options = BreakerOptions::new(Some(2), Some(LONG), Some(LONG), Some("bank"));
    let (here, there) = (client(&breakers, options), client(&breakers, options));
    fail(&here).await;
    until("the failure is known", async || {
        succeed(&there).await;
        (there.state().failures == 1).then_some(())
    })
    .await;
    fail(&there).await;
    refused(&here).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_calls_of_two_processes_one_is_the_trial() {
    let redis = Redis::any();
    for round in 0..20 {
        let breakers = breakers(redis.url());
        opened_for_a_moment(redis.url(), &breakers).await;
        // The trial has all the time there is.
        let clients = [client(&breakers, opens_for(LONG)), client(&breakers, opens_for(LONG))];
        let asking = (0..50).map(|number| {
            let breaker = Arc::clone(&clients[number % 2]);
            tokio::spawn(async move {
                let admitted = breaker.admit().await;
                let is_trial = admitted.as_ref().ok().map(Permit::is_trial);
                // Its place is not given back while the others ask.
                std::mem::forget(admitted);
                is_trial
            })
        });
        let admitted: Vec<_> =
            join_all(asking).await.into_iter().filter_map(|asked| asked.expect("no panic")).collect();
        assert_eq!(admitted, [true], "round {round}");
    }
}

#[tokio::test]
async fn a_trial_closes_it_for_all_or_opens_it_anew() {
    let (_redis, breakers) = redis_and_breakers();
    let options = opens_for(200 * MILLI);
    let (here, there) = (client(&breakers, options), client(&breakers, options));
    fail(&here).await;
    fail(&here).await;
    refused(&there).await;
    let trial = until("due", async || here.admit().await.ok()).await;
    assert!(trial.is_trial());
    trial.failure();
    stands(&there, BreakerPhase::Open).await;
    let trial = until("due again", async || there.admit().await.ok()).await;
    assert!(trial.is_trial());
    trial.success();
    stands(&here, BreakerPhase::Closed).await;
    assert!(!here.admit().await.expect("closed").is_trial());
}

#[tokio::test]
async fn a_dropped_trial_gives_its_place_back() {
    let (redis, breakers) = redis_and_breakers();
    opened_for_a_moment(redis.url(), &breakers).await;
    let (here, there) = (client(&breakers, opens_for(LONG)), client(&breakers, opens_for(LONG)));
    let trial = here.admit().await.expect("due");
    assert!(trial.is_trial());
    let open = refused(&there).await;
    assert!(open.retry_after > LONG / 2, "the trial is under way: {open:?}");
    drop(trial);
    let trial = until("its place is free", async || there.admit().await.ok()).await;
    assert!(trial.is_trial());
}

#[tokio::test]
async fn the_closed_path_asks_no_more_often_than_its_refresh() {
    // Of its own: a server counts the steps of all its clients.
    let redis = RedisServer::start();
    let (url, refresh) = (redis.url(), 100 * MILLI);
    let breakers = breakers(&url).refresh(refresh);
    let breaker = client(&breakers, opens_for(LONG));
    let steps = async || {
        let stats: String = run(&url, &["INFO", "commandstats"]).await;
        let calls = |name: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
            line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse::<u128>().unwrap())
        };
        // Whatever is not done through the script would be seen as well.
        calls("evalsha") + calls("eval") + calls("get") + calls("ping")
    };
    succeed(&breaker).await;
    let (before, begun) = (steps().await, std::time::Instant::now());
    let mut calls = 0_u128;
    while begun.elapsed() < 12 * refresh {
        for _ in 0..100 {
            let permit = breaker.try_admit().expect("it goes by what it knows").expect("closed");
            permit.success();
            calls += 1;
        }
        tokio::time::sleep(MILLI).await;
    }
    let made = steps().await - before;
    // What is behind a success is one step, what is behind a call that finds its answer old another, and both of the call
    // before the first count may come after it. Steps are counted until the server has said how many there were.
    let most = 2 * (begun.elapsed().as_millis() / refresh.as_millis() + 2);
    assert!(made > 0 && made <= most && most < calls, "{made} steps for {calls} calls, at most {most}");
}

#[tokio::test]
async fn keys_vanish() {
    let (redis, breakers) = redis_and_breakers();
    let breaker = client(&breakers, opens_for(LONG));
    succeed(&breaker).await;
    let left = async || run::<i64>(redis.url(), &["PTTL", &key(&breakers)]).await;
    assert_eq!(left().await, -2, "a breaker to which nothing happened has no key");
    fail(&breaker).await;
    let left = until("the failure is told", async || Some(left().await).filter(|left| *left != -2)).await;
    let day = i64::try_from(Duration::from_hours(24).as_millis()).unwrap();
    assert!(left > day / 2 && left < 2 * day, "{left}");
}

#[test]
fn nothing_is_connected_before_a_call_asks() {
    // Outside of a runtime, to a port that nobody listens on.
    let breaker = client(&Breakers::redis("redis://127.0.0.1:1"), opens_for(LONG));
    assert_eq!(breaker.state().phase, BreakerPhase::Closed);
}
