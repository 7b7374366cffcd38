//! Breakers on a real Redis, as a call meets them. Each test starts a server of its own, or uses keys of its own.

mod alike;
mod processes;
mod rubbish;
mod shared;
mod trouble;
mod view;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cqrs_tests::redis::Redis;
use redis::aio::MultiplexedConnection;
use uuid::Uuid;

use crate::breaker::{Breaker, BreakerOptions, BreakerPhase, BreakerPolicy, Breakers, Declared, Open, Panel};
use crate::clock::Clock;
use crate::message::SourceLocation;

const MILLI: Duration = Duration::from_millis(1);
/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(10);

/// Opens with the second failure in a row.
fn opens_for(open_for: Duration) -> BreakerOptions {
    BreakerOptions::new(Some(2), Some(open_for), None, Some("bank"))
}

/// Breakers in a Redis, with keys of their own and answers that are given time on a busy machine.
fn breakers(url: &str) -> Breakers {
    Breakers::redis(url).prefix(format!("test-{}", Uuid::now_v7())).timeout(Duration::from_secs(5)).refresh(20 * MILLI)
}

/// What one process has: its breaker `bank`.
fn client(breakers: &Breakers, options: BreakerOptions) -> Arc<Breaker> {
    let location = SourceLocation { module: "shop", file: "shop.rs", line: 1 };
    let declared = Declared { path: "shop::pay".into(), what: "command handler `pay`".into(), location, options };
    let panel = Panel::new(breakers, &Arc::new(Clock::default()), BreakerPolicy::DEFAULT, &[declared]);
    panel.of("shop::pay", options).expect("declared")
}

/// The key of the breaker `bank`.
fn key(breakers: &Breakers) -> String {
    match &breakers.0 {
        crate::breaker::breakers::Source::Redis(options) => format!("{}:breaker:bank", options.prefix),
        crate::breaker::breakers::Source::Memory => panic!("not in Redis"),
    }
}

/// A connection of the test's own.
async fn connection(url: &str) -> MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// Runs a command.
async fn run<T: redis::FromRedisValue>(url: &str, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(*word);
    });
    command.query_async(&mut connection(url).await).await.unwrap()
}

async fn fail(breaker: &Breaker) {
    breaker.admit().await.expect("let in").failure();
}

async fn succeed(breaker: &Breaker) {
    breaker.admit().await.expect("let in").success();
}

/// Opens the breaker so that a trial is due, and what asks next has all the time there is.
async fn opened_for_a_moment(url: &str, breakers: &Breakers) {
    let opener = client(breakers, opens_for(MILLI));
    fail(&opener).await;
    fail(&opener).await;
    let phase = async || run::<Option<u32>>(url, &["HGET", &key(breakers), "phase"]).await;
    until("it is open", async || (phase().await == Some(1)).then_some(())).await;
    tokio::time::sleep(5 * MILLI).await;
}

/// Calls until the breaker refuses: what was told is on its way.
async fn refused(breaker: &Breaker) -> Open {
    until("the breaker refuses", async || breaker.admit().await.err()).await
}

/// Asks, without keeping a place, until the breaker stands so.
async fn stands(breaker: &Breaker, phase: BreakerPhase) {
    until(phase.as_str(), async || {
        drop(breaker.admit().await);
        (breaker.state().phase == phase).then_some(())
    })
    .await;
}

/// Looks until there is something to see.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(5 * MILLI).await;
        }
    };
    bounded(looking).await.unwrap_or_else(|| panic!("waited too long: {what}"))
}

async fn bounded<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(30), future).await.ok()
}

/// A Redis, and breakers in it.
fn redis_and_breakers() -> (Redis, Breakers) {
    let redis = Redis::any();
    let breakers = breakers(redis.url());
    (redis, breakers)
}
