//! Breakers of this process, as a call meets them.

use std::sync::Arc;
use std::time::Duration;

use super::{Breaker, Open, Panel};
use crate::breaker::{BreakerOptions, BreakerPhase, BreakerPolicy, Breakers, Declared};
use crate::clock::Clock;
use crate::message::SourceLocation;

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    clock: Arc<Clock>,
    panel: Panel,
}

fn options(name: Option<&'static str>, window: Option<Duration>) -> BreakerOptions {
    BreakerOptions::new(Some(2), Some(10 * SECOND), window, name)
}

fn bench(handlers: &[(&str, BreakerOptions)]) -> Bench {
    let clock = Arc::new(Clock::default());
    let declared: Vec<_> = handlers
        .iter()
        .map(|(path, options)| Declared {
            path: (*path).to_owned(),
            what: format!("command handler `{path}`"),
            location: SourceLocation { module: "shop", file: "shop.rs", line: 1 },
            options: *options,
        })
        .collect();
    let panel = Panel::new(&Breakers::memory(), &clock, BreakerPolicy::DEFAULT, &declared);
    Bench { clock, panel }
}

fn one(window: Option<Duration>) -> (Bench, Arc<Breaker>) {
    let bench = bench(&[("shop::pay", options(None, window))]);
    let breaker = bench.panel.of("shop::pay", options(None, window)).expect("declared");
    (bench, breaker)
}

fn fail(breaker: &Breaker) {
    breaker.try_admit().expect("no network").expect("let in").failure();
}

fn succeed(breaker: &Breaker) {
    breaker.try_admit().expect("no network").expect("let in").success();
}

fn phase(breaker: &Breaker) -> BreakerPhase {
    breaker.state().phase
}

#[test]
fn failures_in_a_row_open_it_and_one_trial_closes_it() {
    let (bench, breaker) = one(None);
    fail(&breaker);
    succeed(&breaker);
    fail(&breaker);
    assert_eq!((phase(&breaker), breaker.state().failures), (BreakerPhase::Closed, 1));
    fail(&breaker);
    let state = breaker.state();
    assert_eq!((state.phase, state.failures, state.threshold), (BreakerPhase::Open, 2, 2));
    assert!(state.trial_in.is_some_and(|left| left <= 10 * SECOND && left > 9 * SECOND), "{state:?}");
    let refused = breaker.try_admit().expect("no network").expect_err("open");
    assert!(refused.retry_after <= 10 * SECOND && refused.retry_after > 9 * SECOND, "{refused:?}");

    bench.clock.advance(10 * SECOND);
    let trial = breaker.try_admit().expect("no network").expect("the trial");
    assert!(trial.is_trial());
    assert_eq!(phase(&breaker), BreakerPhase::HalfOpen);
    assert!(breaker.try_admit().expect("no network").is_err(), "one trial at a time");
    trial.success();
    assert_eq!((phase(&breaker), breaker.state().failures), (BreakerPhase::Closed, 0));
    assert!(!breaker.try_admit().expect("no network").expect("closed").is_trial());
}

#[test]
fn in_a_window_failures_count_whatever_succeeds_in_between() {
    let (bench, breaker) = one(Some(5 * SECOND));
    fail(&breaker);
    bench.clock.advance(6 * SECOND);
    fail(&breaker);
    assert_eq!(phase(&breaker), BreakerPhase::Closed, "the first is out of the window");
    succeed(&breaker);
    assert_eq!(breaker.state().failures, 1);
    fail(&breaker);
    assert_eq!(phase(&breaker), BreakerPhase::Open);
}

#[test]
fn a_dropped_permit_counts_neither_way_and_frees_the_trial() {
    let (bench, breaker) = one(None);
    fail(&breaker);
    drop(breaker.try_admit());
    assert_eq!(breaker.state().failures, 1, "a dropped call neither counts nor resets");
    fail(&breaker);
    bench.clock.advance(10 * SECOND);
    drop(breaker.try_admit().expect("no network").expect("the trial"));
    assert_eq!(phase(&breaker), BreakerPhase::HalfOpen);
    let trial = breaker.try_admit().expect("no network").expect("its place is free");
    assert!(trial.is_trial());
    trial.failure();
    assert_eq!(phase(&breaker), BreakerPhase::Open);
}

#[test]
fn a_trial_that_hangs_lets_another_begin() {
    let (bench, breaker) = one(None);
    fail(&breaker);
    fail(&breaker);
    bench.clock.advance(10 * SECOND);
    let hangs = breaker.try_admit().expect("no network").expect("the trial");
    bench.clock.advance(10 * SECOND);
    let other = breaker.try_admit().expect("no network").expect("another");
    assert!(other.is_trial());
    hangs.failure();
    assert_eq!(phase(&breaker), BreakerPhase::HalfOpen, "what hung says nothing new by failing");
    other.success();
    assert_eq!(phase(&breaker), BreakerPhase::Closed);
}

#[test]
fn a_call_from_before_the_breaker_opened_does_not_touch_it() {
    let (bench, breaker) = one(None);
    let early = [0; 3].map(|_| breaker.try_admit().expect("no network").expect("closed"));
    fail(&breaker);
    fail(&breaker);
    let [first, second, third] = early;
    first.success();
    assert_eq!(phase(&breaker), BreakerPhase::Open);
    bench.clock.advance(10 * SECOND);
    let trial = breaker.try_admit().expect("no network").expect("the trial");
    second.success();
    assert_eq!(phase(&breaker), BreakerPhase::HalfOpen);
    trial.success();
    third.failure();
    assert_eq!(breaker.state().failures, 0);
}

#[tokio::test]
async fn asking_and_waiting_is_the_same_where_nobody_waits() {
    let (_bench, breaker) = one(None);
    for _ in 0..2 {
        breaker.admit().await.expect("closed").failure();
    }
    let refused = breaker.admit().await.expect_err("open");
    let Open { retry_after } = refused;
    assert!(retry_after > 9 * SECOND, "{retry_after:?}");
}

#[test]
fn one_name_is_one_breaker() {
    let (bank, own) = (options(Some("bank"), None), options(None, None));
    let bench = bench(&[("shop::pay", bank), ("shop::refund", bank), ("shop::quote", own)]);
    let of = |path, options| bench.panel.of(path, options).expect("declared");
    fail(&of("shop::pay", bank));
    fail(&of("shop::refund", bank));
    let states: Vec<_> =
        bench.panel.states().into_iter().map(|state| (state.name, state.phase, state.handlers)).collect();
    let shared = vec!["shop::pay".to_owned(), "shop::refund".to_owned()];
    let expected = [
        ("bank".to_owned(), BreakerPhase::Open, shared),
        ("shop::quote".to_owned(), BreakerPhase::Closed, vec!["shop::quote".to_owned()]),
    ];
    assert_eq!(states, expected);
    assert!(bench.panel.of("shop::other", own).is_none());
}

#[test]
fn of_many_calls_at_once_one_is_the_trial() {
    let (bench, breaker) = one(None);
    fail(&breaker);
    fail(&breaker);
    for round in 0..50 {
        bench.clock.advance(10 * SECOND);
        let admitted: Vec<_> = std::thread::scope(|scope| {
            let call = || breaker.try_admit().expect("no network").ok().map(std::mem::ManuallyDrop::new);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(admitted.len(), 1, "round {round}");
    }
}
