//! Redis down, slow, restarted, refusing: breakers are closed, and no call waits or fails for it.

use std::sync::Arc;
use std::time::Duration;

use cqrs_tests::proxy::Proxy;
use cqrs_tests::redis::RedisServer;
use tracing::Level;

use super::{
    LONG, MILLI, breakers, client, fail, key, opened_for_a_moment, opens_for, refused, run, stands, succeed, until,
};
use crate::breaker::{Breaker, BreakerPhase, Breakers, Permit};
use crate::logged::Log;

/// What is said when Redis is lost.
const LOST: &str = "cannot be asked";

/// Calls once, without waiting.
fn passes(breaker: &Breaker) {
    breaker.try_admit().expect("it need not be asked").expect("let in").failure();
}

/// Calls until Redis counts as lost: from then on nobody waits.
async fn lost(breaker: &Breaker, log: &Log) {
    until("Redis is lost", async || {
        // A report is written, which a server may refuse that answers to everything else.
        let _ = breaker.admit().await.map(Permit::failure);
        (!log.lines(Level::WARN, LOST).is_empty()).then_some(())
    })
    .await;
}

/// Many calls while Redis is lost, for longer than it takes to try it again: each is let in without waiting, and nothing
/// more is told.
async fn goes_on_closed(breaker: &Breaker, log: &Log) {
    for _ in 0..100 {
        passes(breaker);
        assert_eq!((breaker.state().phase, breaker.state().failures), (BreakerPhase::Closed, 0));
        tokio::time::sleep(10 * MILLI).await;
    }
    assert_eq!(log.lines(Level::WARN, ""), log.lines(Level::WARN, LOST), "nothing else is told");
    assert_eq!(log.lines(Level::WARN, LOST).len(), 1);
}

/// Redis answers again: breakers work.
async fn works_again(breaker: &Breaker, log: &Log) {
    until("Redis is back", async || {
        drop(breaker.admit().await);
        (!log.lines(Level::INFO, "answers again").is_empty()).then_some(())
    })
    .await;
    opens(breaker).await;
}

async fn opens(breaker: &Breaker) {
    until("it opens", async || match breaker.admit().await {
        Ok(permit) => {
            permit.failure();
            None
        }
        Err(open) => Some(open),
    })
    .await;
}

fn url(address: std::net::SocketAddr) -> String {
    format!("redis://{address}")
}

#[tokio::test]
async fn down_from_the_start() {
    let mut server = RedisServer::start();
    server.stop();
    let log = Log::new();
    let breaker = client(&breakers(&server.url()), opens_for(LONG));
    breaker.admit().await.expect("let in").failure();
    lost(&breaker, &log).await;
    goes_on_closed(&breaker, &log).await;
    server.restart();
    works_again(&breaker, &log).await;
}

#[tokio::test]
async fn lost_while_it_is_open() {
    let mut server = RedisServer::start();
    let breaker = client(&breakers(&server.url()), opens_for(LONG));
    opens(&breaker).await;
    let log = Log::new();
    server.stop();
    lost(&breaker, &log).await;
    goes_on_closed(&breaker, &log).await;
    server.restart();
    works_again(&breaker, &log).await;
}

#[tokio::test]
async fn slow() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address());
    let breakers = breakers(&url(proxy.address())).timeout(100 * MILLI);
    let log = Log::new();
    let breaker = client(&breakers, opens_for(LONG));
    proxy.delay(Duration::from_secs(30));
    // So many at once, and none waits for an answer that takes half a minute.
    let calls = (0..50).map(|_| {
        let breaker = Arc::clone(&breaker);
        tokio::spawn(async move { breaker.admit().await.expect("let in").failure() })
    });
    let calls = tokio::time::timeout(Duration::from_secs(10), futures_util::future::join_all(calls));
    assert!(calls.await.expect("no call waits for it").iter().all(Result::is_ok));
    lost(&breaker, &log).await;
    goes_on_closed(&breaker, &log).await;
    proxy.delay(Duration::ZERO);
    proxy.cut();
    works_again(&breaker, &log).await;
}

#[tokio::test]
async fn slow_at_times_is_told_of_once() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address());
    let breakers = breakers(&url(proxy.address())).timeout(100 * MILLI);
    let log = Log::new();
    let breaker = client(&breakers, opens_for(LONG));
    succeed(&breaker).await;
    for outage in 0..2 {
        proxy.delay(500 * MILLI);
        until("Redis is lost", async || {
            drop(breaker.admit().await);
            (log.lines(Level::WARN, LOST).len() + log.lines(Level::DEBUG, LOST).len() > outage).then_some(())
        })
        .await;
        proxy.delay(Duration::ZERO);
        until("it is back", async || {
            breaker.admit().await.expect("closed").success();
            // What is known is from behind the outage: somebody was asked.
            (breaker.try_admit().is_some_and(|admitted| admitted.is_ok_and(|permit| !permit.is_blind()))).then_some(())
        })
        .await;
    }
    assert_eq!(log.lines(Level::WARN, LOST).len(), 1, "rate limited");
}

#[tokio::test]
async fn restarted_with_nothing_in_it() {
    let mut server = RedisServer::start();
    let breakers = breakers(&server.url());
    let breaker = client(&breakers, opens_for(LONG));
    opens(&breaker).await;
    // Closed again, since nobody remembers; and the script is unknown to it.
    server.restart();
    stands(&breaker, BreakerPhase::Closed).await;
    until("it opens anew", async || {
        let admitted = breaker.admit().await;
        let open = admitted.is_err().then_some(());
        let _ = admitted.map(Permit::failure);
        open
    })
    .await;
}

#[tokio::test]
async fn emptied_while_it_is_open() {
    let server = RedisServer::start();
    let breakers = breakers(&server.url());
    let (here, there) = (client(&breakers, opens_for(LONG)), client(&breakers, opens_for(LONG)));
    opens(&here).await;
    refused(&there).await;
    let _: String = run(&server.url(), &["FLUSHALL"]).await;
    stands(&here, BreakerPhase::Closed).await;
    stands(&there, BreakerPhase::Closed).await;
    fail(&here).await;
    fail(&there).await;
    refused(&here).await;
}

#[tokio::test]
async fn a_server_that_has_forgotten_the_script_is_given_it() {
    let server = RedisServer::start();
    let log = Log::new();
    let breaker = client(&breakers(&server.url()), opens_for(LONG));
    for _ in 0..3 {
        let _: String = run(&server.url(), &["SCRIPT", "FLUSH"]).await;
        succeed(&breaker).await;
        tokio::time::sleep(30 * MILLI).await;
    }
    opens(&breaker).await;
    assert!(log.lines(Level::WARN, LOST).is_empty(), "it was there all the time");
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address());
    let log = Log::new();
    let breaker = client(&breakers(&url(proxy.address())), opens_for(LONG));
    for _ in 0..5 {
        succeed(&breaker).await;
        proxy.cut();
        // Old enough that the next call asks.
        tokio::time::sleep(250 * MILLI).await;
        assert!(!breaker.admit().await.expect("closed").is_blind(), "it was asked");
    }
    opens(&breaker).await;
    assert!(log.lines(Level::WARN, LOST).is_empty(), "it was there all the time");
}

#[tokio::test]
async fn a_server_that_refuses_to_write_counts_as_lost() {
    let server = RedisServer::start();
    let log = Log::new();
    let breaker = client(&breakers(&server.url()), opens_for(LONG));
    fail(&breaker).await;
    let _: String = run(&server.url(), &["REPLICAOF", "127.0.0.1", "1"]).await;
    lost(&breaker, &log).await;
    goes_on_closed(&breaker, &log).await;
    let _: String = run(&server.url(), &["REPLICAOF", "NO", "ONE"]).await;
    works_again(&breaker, &log).await;
}

#[tokio::test]
async fn more_than_can_be_told_is_dropped_and_counted() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address());
    let breakers = breakers(&url(proxy.address()));
    let breaker =
        client(&breakers, crate::breaker::BreakerOptions::new(Some(1_000_000), Some(LONG), None, Some("bank")));
    let log = Log::new();
    succeed(&breaker).await;
    proxy.delay(500 * MILLI);
    for _ in 0..5000 {
        fail(&breaker).await;
    }
    proxy.delay(Duration::ZERO);
    until("it is told of", async || {
        (!log.lines(Level::WARN, "more calls of circuit breakers").is_empty()).then_some(())
    })
    .await;
    until("the rest is counted", async || {
        succeed(&breaker).await;
        (breaker.state().failures == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_trial_that_is_granted_to_a_call_that_has_gone_is_given_back() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address());
    let breakers = breakers(&url(proxy.address()));
    opened_for_a_moment(&server.url(), &breakers).await;
    let breaker = client(&breakers, opens_for(LONG));
    proxy.delay(200 * MILLI);
    let gone = tokio::time::timeout(50 * MILLI, breaker.admit()).await;
    assert!(gone.is_err(), "the answer is not here yet");
    proxy.delay(Duration::ZERO);
    let trial = until("its place is free", async || breaker.admit().await.ok()).await;
    assert!(trial.is_trial());
}

/// The answer is here, and nobody looks at it any more.
#[tokio::test]
async fn a_trial_whose_call_is_dropped_before_it_hears_of_it_is_given_back() {
    let server = RedisServer::start();
    let breakers = breakers(&server.url());
    opened_for_a_moment(&server.url(), &breakers).await;
    let breaker = client(&breakers, opens_for(LONG));
    let mut call = Box::pin(breaker.admit());
    std::future::poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending(), "Redis has to be asked");
        std::task::Poll::Ready(())
    })
    .await;
    let phase = async || run::<Option<u32>>(&server.url(), &["HGET", &key(&breakers), "phase"]).await;
    until("it is granted", async || (phase().await == Some(2)).then_some(())).await;
    // The worker hands the answer on meanwhile.
    tokio::time::sleep(100 * MILLI).await;
    drop(call);
    let trial = until("its place is free", async || breaker.admit().await.ok()).await;
    assert!(trial.is_trial());
}

#[test]
fn a_runtime_that_ends_takes_nothing_with_it() {
    let server = RedisServer::start();
    let breaker = client(&breakers(&server.url()), opens_for(LONG));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(fail(&breaker));
    // What was told may or may not have been said; the breaker works in the next one, and outside of any.
    runtime().block_on(opens(&breaker));
    assert!(breaker.try_admit().is_none_or(|admitted| admitted.is_err()));
}

#[test]
fn what_is_wrong_is_told_without_connecting_and_without_the_password() {
    let faults = |breakers: Breakers| -> Vec<String> {
        assert!(!format!("{breakers:?}").contains("hunter2"), "{breakers:?}");
        breakers.problems().into_iter().map(|problem| problem.to_string()).collect()
    };
    let sound = || Breakers::redis("redis://app:hunter2@localhost:6379/1");
    assert!(faults(Breakers::memory()).is_empty());
    for url in ["redis://localhost", "rediss://localhost:6380", "redis://:hunter2@[::1]:6379/2"] {
        assert!(faults(Breakers::redis(url)).is_empty(), "{url}");
    }
    for url in
        ["", "localhost", "http://hunter2@localhost", "redis://app:hunter2@localhost/one", "redis://", "redis://h:x"]
    {
        let said = faults(Breakers::redis(url));
        assert_eq!(said.len(), 1, "{url}: {said:?}");
        assert!(said[0].contains("Redis URL") && !said[0].contains("hunter2"), "{said:?}");
    }
    let long = "x".repeat(65);
    for prefix in ["", "a b", "a\n", "é", "{a}", long.as_str()] {
        let said = faults(sound().prefix(prefix));
        assert!(said.len() == 1 && said[0].contains("prefix"), "{prefix}: {said:?}");
    }
    assert!(faults(sound().prefix("shop.prod:eu_1-a")).is_empty());
    let said = faults(sound().refresh(Duration::ZERO).timeout(Duration::ZERO).prefix(""));
    assert_eq!(said.len(), 3, "everything at once: {said:?}");
}
