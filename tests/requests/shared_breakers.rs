//! Circuit breakers in Redis: two apps that share one, and what becomes of calls without Redis.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::{BoxError, BreakerPhase, DispatchErrorKind};
use cqrs_tests::redis::{Redis, RedisServer};
use uuid::Uuid;

use crate::support::{Harness, Refused, bounded};

#[derive(Query, Clone, Copy)]
#[query(response = &'static str, error = BoxError)]
pub struct Rate(bool);

#[query_handler(breaker(failures = 2, open_for = "10m", name = "rates"))]
async fn rate(q: &Rate) -> Result<&'static str, Refused> {
    if q.0 { Ok("fine") } else { Err(Refused("down".to_owned())) }
}

fn shared(url: &str, prefix: &str) -> Breakers {
    Breakers::redis(url).prefix(prefix).refresh(Duration::from_millis(20)).timeout(Duration::from_secs(5))
}

async fn app(breakers: &Breakers) -> Harness {
    Harness::with(|builder| builder.breakers(breakers.clone()).run([""; 0])).await
}

fn phase(app: &Harness) -> BreakerPhase {
    app.breakers().into_iter().find(|state| state.name == "rates").expect("it is declared").phase
}

/// Calls until the breaker refuses: other processes learn of it behind their calls.
async fn refused(app: &Harness, call: Rate) {
    while app.query(call).await.err().is_none_or(|error| error.kind() != DispatchErrorKind::BreakerOpen) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_one_app_finds_broken_the_other_does_not_call() {
    bounded(async {
        let redis = Redis::any();
        let breakers = shared(redis.url(), &Uuid::now_v7().to_string());
        let (here, there) = (app(&breakers).await, app(&breakers).await);
        there.query(Rate(true)).await.unwrap();
        for _ in 0..2 {
            assert_eq!(here.query(Rate(false)).await.unwrap_err().kind(), DispatchErrorKind::Handler);
        }
        refused(&there, Rate(true)).await;
        refused(&here, Rate(true)).await;
        assert_eq!((phase(&here), phase(&there)), (BreakerPhase::Open, BreakerPhase::Open));

        let others = app(&shared(redis.url(), &Uuid::now_v7().to_string())).await;
        others.query(Rate(true)).await.unwrap();
        assert_eq!(phase(&others), BreakerPhase::Closed, "another prefix, other breakers");
    })
    .await;
}

#[tokio::test]
async fn without_redis_calls_are_made_as_if_all_breakers_were_closed() {
    bounded(async {
        let mut server = RedisServer::start();
        let app = app(&shared(&server.url(), "test")).await;
        refused(&app, Rate(false)).await;
        server.stop();
        while app.query(Rate(true)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..20 {
            assert_eq!(app.query(Rate(false)).await.unwrap_err().kind(), DispatchErrorKind::Handler);
            assert_eq!(app.query(Rate(true)).await.unwrap(), "fine");
        }
        assert_eq!(phase(&app), BreakerPhase::Closed);
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_them_is_a_wiring_error() {
    let breakers = Breakers::redis("postgres://u:hunter2@localhost").prefix("a b");
    let builder = crate::support::app(&std::sync::Arc::default()).breakers(breakers);
    let problems = builder.check().unwrap_err().to_string();
    assert!(
        problems.contains("2 problems") && problems.contains("Redis URL") && problems.contains("prefix"),
        "{problems}"
    );
    assert!(!problems.contains("hunter2"), "{problems}");
}
