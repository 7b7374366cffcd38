//! Circuit breakers around handlers: what counts, what an open one does, and what can be seen of it.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::{BoxError, BreakerPhase, DispatchErrorKind};

use crate::support::{Harness, Log, Probe, Refused, bounded};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Query, Clone, Copy, Debug)]
#[query(response = &'static str, error = BoxError)]
pub enum Call {
    Succeeds,
    Fails,
    /// With an error that does not count.
    Refuses,
    Hangs,
    Panics,
}

#[query_handler(
    breaker(failures = 3, open_for = "60s", name = "source"),
    timeout = "20ms",
    retry(max = 2, first = "1ms"),
    on = [Refused(why) if why != "not found"]
)]
async fn call(q: Call, probe: Inject<Probe>) -> Result<&'static str, Refused> {
    probe.note("called");
    match q {
        Call::Succeeds => Ok("fine"),
        Call::Fails => Err(Refused("down".to_owned())),
        Call::Refuses => Err(Refused("not found".to_owned())),
        Call::Hangs => std::future::pending().await,
        Call::Panics => panic!("the source burns"),
    }
}

async fn phase(harness: &Harness, name: &str) -> (BreakerPhase, u32) {
    let state = harness.breakers().into_iter().find(|state| state.name == name).expect("it is declared");
    (state.phase, state.failures)
}

#[tokio::test]
async fn failures_timeouts_and_panics_count_once_a_call() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.query(Call::Fails).await.unwrap_err();
        assert_eq!(phase(&harness, "source").await, (BreakerPhase::Closed, 1), "two attempts are one outcome");
        harness.query(Call::Hangs).await.unwrap_err();
        assert_eq!(phase(&harness, "source").await, (BreakerPhase::Closed, 2));
        let error = harness.query(Call::Panics).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Panicked, "the call that opens it has its own error");
        assert_eq!(phase(&harness, "source").await, (BreakerPhase::Open, 3));
        let called = harness.probe.count("called");
        let error = harness.query(Call::Succeeds).await.unwrap_err();
        assert_eq!((error.kind(), error.name()), (DispatchErrorKind::BreakerOpen, Some("call")));
        assert!(error.is_retryable());
        assert_eq!(harness.probe.count("called"), called, "nobody was called");
    })
    .await;
}

#[tokio::test]
async fn a_success_resets_and_errors_outside_of_on_do_neither() {
    bounded(async {
        let harness = Harness::idle().await;
        for _ in 0..2 {
            harness.query(Call::Fails).await.unwrap_err();
        }
        for _ in 0..5 {
            harness.query(Call::Refuses).await.unwrap_err();
        }
        assert_eq!(phase(&harness, "source").await, (BreakerPhase::Closed, 2));
        harness.query(Call::Succeeds).await.unwrap();
        assert_eq!(phase(&harness, "source").await, (BreakerPhase::Closed, 0));
    })
    .await;
}

#[tokio::test]
async fn half_open_lets_one_call_in_and_its_success_closes() {
    bounded(async {
        let harness = Harness::idle().await;
        for _ in 0..3 {
            harness.query(Call::Fails).await.unwrap_err();
        }
        harness.query(Call::Succeeds).await.unwrap_err();
        harness.advance(MINUTE).await;
        let called = harness.probe.count("called");
        let (trial, other) = tokio::join!(harness.query(Call::Hangs), harness.query(Call::Succeeds));
        assert_eq!(trial.unwrap_err().kind(), DispatchErrorKind::Timeout);
        assert_eq!(other.unwrap_err().kind(), DispatchErrorKind::BreakerOpen);
        assert_eq!(harness.probe.count("called"), called + 2, "the trial's two attempts");
        harness.advance(MINUTE).await;
        harness.query(Call::Succeeds).await.unwrap();
        assert_eq!(phase(&harness, "source").await, (BreakerPhase::Closed, 0));
    })
    .await;
}

#[tokio::test]
async fn a_trial_that_is_dropped_frees_its_place() {
    bounded(async {
        let harness = Harness::idle().await;
        for _ in 0..3 {
            harness.query(Call::Fails).await.unwrap_err();
        }
        harness.advance(MINUTE).await;
        let mut trial = harness.query(Call::Hangs);
        assert!(futures_util::poll!(&mut trial).is_pending());
        assert_eq!(phase(&harness, "source").await.0, BreakerPhase::HalfOpen);
        drop(trial);
        harness.query(Call::Succeeds).await.unwrap();
    })
    .await;
}

#[derive(Query)]
#[query(response = &'static str, error = BoxError)]
pub struct Backed(bool);

#[query_handler(breaker(failures = 1, open_for = "60s"), fallback = from_cache)]
async fn backed(q: &Backed, probe: Inject<Probe>) -> Result<&'static str, Refused> {
    probe.note("backed");
    if q.0 { Ok("source") } else { Err(Refused("down".to_owned())) }
}

#[fallback]
async fn from_cache(_q: &Backed, cause: Cause<Refused>) -> Result<&'static str, BoxError> {
    Ok(match cause {
        Cause::Error(_) => "cache after an error",
        Cause::BreakerOpen => "cache behind an open breaker",
        _ => "cache",
    })
}

#[tokio::test]
async fn an_open_breaker_asks_the_fallback() {
    bounded(async {
        let harness = Harness::idle().await;
        assert_eq!(harness.query(Backed(false)).await.unwrap(), "cache after an error");
        assert_eq!(harness.query(Backed(true)).await.unwrap(), "cache behind an open breaker");
        assert_eq!(harness.probe.count("backed"), 1);
        let names: Vec<String> = harness.breakers().into_iter().map(|state| state.name).collect();
        assert!(names.iter().any(|name| name.ends_with("breakers::backed")), "{names:?}");
    })
    .await;
}

/// Of a breaker within the process: each change is one line, which names the breaker, whatever opened or closed it.
#[tokio::test]
async fn what_a_breaker_does_is_logged_once_a_change() {
    bounded(async {
        let (log, _guard) = Log::of_everything();
        let harness = Harness::idle().await;
        for _ in 0..3 {
            harness.query(Call::Fails).await.unwrap_err();
        }
        for _ in 0..2 {
            harness.query(Call::Succeeds).await.unwrap_err();
        }
        harness.advance(MINUTE).await;
        harness.query(Call::Fails).await.unwrap_err();
        harness.advance(MINUTE).await;
        for _ in 0..2 {
            harness.query(Call::Succeeds).await.unwrap();
        }
        let text = log.text();
        let lines: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once("cqrs::breaker::panel: "))
            .map(|(before, line)| (before.split_whitespace().nth(1).unwrap(), line))
            .collect();
        let opened =
            r#"circuit breaker open: its handlers are not called for a while breaker="source" failures=3 trial_in=60s"#;
        let trial = r#"circuit breaker half-open: one call is let in to see breaker="source""#;
        let closed = r#"circuit breaker closed: the trial succeeded breaker="source""#;
        let (opened, trial, closed) = (("WARN", opened), ("INFO", trial), ("INFO", closed));
        assert_eq!(lines, [opened, trial, opened, trial, closed]);
    })
    .await;
}
