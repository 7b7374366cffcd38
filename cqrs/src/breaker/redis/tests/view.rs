//! What a process does by what it knows, without a Redis.

use std::time::Duration;

use super::MILLI;
use crate::breaker::machine::Ticket;
use crate::breaker::redis::script::Answer;
use crate::breaker::redis::view::{Decision, View};
use crate::breaker::state::BreakerPhase;

const REFRESH: Duration = Duration::from_millis(100);
const PASS: Decision = Decision::Pass(Ticket::closed(7));

fn answer(phase: BreakerPhase, failures: u32, trial_in: u64) -> Answer {
    Answer { phase, failures, trial_in: Duration::from_millis(trial_in), period: 7, granted: None, mended: false }
}

fn knowing(answer: Answer) -> View {
    let mut view = View::new(REFRESH);
    view.learn(answer, Duration::ZERO);
    view
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn who_knows_nothing_asks_and_one_does_for_all() {
    let mut view = View::new(REFRESH);
    assert_eq!(view.decide(at(0)), (Decision::Ask, false));
    assert_eq!(view.decide(at(0)), (Decision::Ask, false), "asking is not begun by being told to");
    assert!(view.claim());
    assert!(!view.claim());
    view.asked();
    assert!(view.claim());
}

#[test]
fn a_closed_breaker_is_fetched_anew_once_per_refresh_and_asked_when_it_is_old() {
    let mut view = knowing(answer(BreakerPhase::Closed, 0, 0));
    assert_eq!(view.decide(at(99)), (PASS, false));
    assert_eq!(view.decide(at(100)), (PASS, true));
    assert_eq!(view.decide(at(101)), (PASS, false), "it is being fetched");
    view.learn(answer(BreakerPhase::Closed, 0, 0), at(110));
    view.asked();
    assert_eq!(view.decide(at(209)), (PASS, false));
    assert_eq!(view.decide(at(1109)), (PASS, true));
    assert_eq!(view.decide(at(1110)), (Decision::Ask, false), "too old to go by");
}

#[test]
fn an_open_breaker_refuses_until_it_is_due_then_one_asks() {
    for phase in [BreakerPhase::Open, BreakerPhase::HalfOpen] {
        let mut view = knowing(answer(phase, 2, 150));
        assert_eq!(view.decide(at(50)), (Decision::Refuse(100 * MILLI), false));
        assert_eq!(view.decide(at(120)), (Decision::Refuse(30 * MILLI), true));
        view.asked();
        assert_eq!(view.decide(at(150)), (Decision::Ask, false));
        assert!(view.claim());
        assert_eq!(view.decide(at(150)), (Decision::Refuse(Duration::ZERO), false), "somebody else is the trial");
    }
}

#[test]
fn a_success_is_told_where_it_may_change_something() {
    let call = Ticket::closed(7);
    let told = |view: &mut View, now| view.succeeded(call, false, at(now));
    let mut view = knowing(answer(BreakerPhase::Closed, 0, 0));
    assert!(!told(&mut view, 99), "there is nothing to take back");
    assert!(told(&mut view, 100), "somebody else may have failed since");
    assert!(!told(&mut view, 100), "one is on its way");
    view.failed();
    assert!(told(&mut view, 100), "behind the failure, not before it");
    view.told_success();
    view.learn(answer(BreakerPhase::Closed, 1, 0), at(101));
    assert!(told(&mut view, 102));

    let mut open = knowing(answer(BreakerPhase::Open, 2, 50));
    assert!(!told(&mut open, 1), "a call from before it opened");
    assert!(open.succeeded(Ticket { period: 7, trial: 1 }, false, at(1)), "the trial's always");
    let mut window = knowing(answer(BreakerPhase::Closed, 1, 0));
    assert!(!window.succeeded(call, true, at(500)), "in a window a success changes nothing");
    assert!(window.succeeded(Ticket { period: 7, trial: 1 }, true, at(500)));
}

#[test]
fn the_reading_is_what_is_known() {
    let reading = View::new(REFRESH).reading(at(0));
    assert_eq!((reading.phase, reading.failures, reading.trial_in), (BreakerPhase::Closed, 0, None));
    let reading = knowing(answer(BreakerPhase::Open, 2, 150)).reading(at(50));
    assert_eq!((reading.phase, reading.failures, reading.trial_in), (BreakerPhase::Open, 2, Some(100 * MILLI)));
}
