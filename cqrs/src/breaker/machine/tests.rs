//! Every state with every input by a table, and every short sequence of inputs against a model that keeps the whole story
//! and decides from it.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Effect, Failures, Input, Machine, State, Ticket, Time, Trial};
use crate::breaker::policy::BreakerPolicy;

mod model;

/// Opens after two failures, for ten ticks.
const IN_A_ROW: BreakerPolicy = BreakerPolicy { failures: 2, open_for: ticks(10), window: None };
/// The same, of the failures of the last five ticks.
const IN_WINDOW: BreakerPolicy = BreakerPolicy { window: Some(ticks(5)), ..IN_A_ROW };
/// The time at which the table's inputs come.
const NOW: Time = ticks(100);
/// The period in which the table's machines are.
const PERIOD: u64 = 7;

const fn ticks(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Everything a machine can be that makes a difference.
fn states() -> Vec<(&'static str, Machine)> {
    let machine = |policy, state, trials| Machine { policy, state, period: PERIOD, trials };
    let in_a_row = |state, trials| machine(IN_A_ROW, state, trials);
    let in_window = |times: &[u64]| {
        let times = times.iter().map(|time| ticks(*time)).collect();
        machine(IN_WINDOW, State::Closed(Failures::InWindow(times)), 0)
    };
    let trial = |until| State::HalfOpen { trial: Some(Trial { until: ticks(until) }) };
    vec![
        ("closed, no failure", in_a_row(State::Closed(Failures::InARow(0)), 0)),
        ("closed, one failure", in_a_row(State::Closed(Failures::InARow(1)), 0)),
        ("window, no failure", in_window(&[])),
        ("window, a recent failure", in_window(&[96])),
        ("window, an old failure", in_window(&[95])),
        ("open", in_a_row(State::Open { until: ticks(104) }, 0)),
        ("open, due", in_a_row(State::Open { until: ticks(100) }, 0)),
        ("half-open, nobody", in_a_row(State::HalfOpen { trial: None }, 2)),
        ("half-open, trial", in_a_row(trial(103), 2)),
        ("half-open, trial hangs", in_a_row(trial(100), 2)),
    ]
}

/// Everything that can be said to it.
fn inputs() -> Vec<(&'static str, Input)> {
    type Ended = fn(Ticket) -> Input;
    let kinds = [("success", Input::Success as Ended), ("failure", Input::Failure), ("release", Input::Release)];
    let tickets = [
        ("a call of now", Ticket { period: PERIOD, trial: 0 }),
        ("a call of before", Ticket { period: PERIOD - 2, trial: 0 }),
        ("the trial", Ticket { period: PERIOD, trial: 2 }),
        ("the trial before", Ticket { period: PERIOD, trial: 1 }),
        ("a trial of before", Ticket { period: PERIOD - 1, trial: 2 }),
    ];
    let mut inputs = vec![("admit", Input::Admit)];
    for (kind, input) in kinds {
        for (whose, ticket) in tickets {
            inputs.push((Box::leak(format!("{kind} of {whose}").into_boxed_str()), input(ticket)));
        }
    }
    inputs
}

/// What changes: effect, state afterwards, and period afterwards. What is not listed changes nothing.
fn expected(state: &str, input: &str) -> Option<(Effect, State, u64)> {
    let (same, next) = (PERIOD, PERIOD + 1);
    let admitted = |trial| Effect::Admitted(Ticket { period: PERIOD, trial });
    let in_a_row = |count| State::Closed(Failures::InARow(count));
    let in_window = |times: &[u64]| {
        State::Closed(Failures::InWindow(times.iter().map(|time| ticks(*time)).collect::<VecDeque<_>>()))
    };
    let open = State::Open { until: ticks(110) };
    let trial = State::HalfOpen { trial: Some(Trial { until: ticks(110) }) };
    // A closed breaker lets in no trial of its period: such a ticket is a call's.
    let is_closed = state.starts_with("closed") || state.starts_with("window");
    let input = match input {
        "success of the trial" | "success of the trial before" if is_closed => "success of a call of now",
        "failure of the trial" | "failure of the trial before" if is_closed => "failure of a call of now",
        input => input,
    };
    let row = match (state, input) {
        ("closed, no failure", "admit") => (admitted(0), in_a_row(0), same),
        ("closed, one failure", "admit") => (admitted(0), in_a_row(1), same),
        ("window, no failure", "admit") => (admitted(0), in_window(&[]), same),
        ("window, a recent failure", "admit") => (admitted(0), in_window(&[96]), same),
        ("window, an old failure", "admit") => (admitted(0), in_window(&[95]), same),
        ("open", "admit") => (Effect::Refused(ticks(4)), State::Open { until: ticks(104) }, same),
        ("half-open, trial", "admit") => {
            (Effect::Refused(ticks(3)), State::HalfOpen { trial: Some(Trial { until: ticks(103) }) }, same)
        }
        ("open, due", "admit") => (admitted(1), trial, same),
        ("half-open, nobody" | "half-open, trial hangs", "admit") => (admitted(3), trial, same),

        // In a row, a success takes back what failed before it; in a window it does not.
        ("closed, one failure", "success of a call of now") => (Effect::None, in_a_row(0), same),
        ("closed, no failure", "failure of a call of now") => (Effect::None, in_a_row(1), same),
        ("window, no failure", "failure of a call of now") => (Effect::None, in_window(&[100]), same),
        ("window, an old failure", "failure of a call of now") => (Effect::None, in_window(&[95, 100]), same),

        // The second failure opens; so does that of the trial which everything waits for.
        ("closed, one failure" | "window, a recent failure", "failure of a call of now")
        | ("half-open, trial" | "half-open, trial hangs", "failure of the trial") => (Effect::Opened, open, next),

        // The success of any trial closes, also of one that others took the place of.
        (
            "half-open, nobody" | "half-open, trial" | "half-open, trial hangs",
            "success of the trial" | "success of the trial before",
        ) => (Effect::Closed, in_a_row(0), next),
        ("half-open, trial" | "half-open, trial hangs", "release of the trial") => {
            (Effect::None, State::HalfOpen { trial: None }, same)
        }
        _ => return None,
    };
    Some(row)
}

#[test]
fn every_state_takes_every_input_as_the_table_says() {
    let mut listed = 0;
    for (state, before) in states() {
        for (input, given) in inputs() {
            let mut after = before.clone();
            let effect = after.apply(given, NOW);
            let row = expected(state, input);
            listed += usize::from(row.is_some());
            let (said, becomes, period) = row.unwrap_or((Effect::None, before.state.clone(), before.period));
            assert_eq!((effect, &after.state, after.period), (said, &becomes, period), "{state}: {input}");
        }
    }
    let pairs = states().len() * inputs().len();
    assert_eq!((pairs, listed), (160, 38), "a row of the table is of no pair");
}

#[test]
fn a_success_is_asked_for_only_where_it_changes_something() {
    for (name, machine) in states() {
        assert_eq!(machine.heeds_success(), name == "closed, one failure", "{name}");
        if matches!(machine.state, State::Closed(_)) && !machine.heeds_success() {
            let mut after = machine.clone();
            assert_eq!(after.apply(Input::Success(Ticket::closed(PERIOD)), NOW), Effect::None);
            assert_eq!(after, machine, "{name}: a success that nobody asks for changes something");
        }
    }
}

#[test]
fn failures_are_counted_as_they_stand() {
    let counts: Vec<_> = states().iter().map(|(_, machine)| machine.failures(NOW)).collect();
    assert_eq!(counts, [0, 1, 0, 1, 0, 2, 2, 2, 2, 2]);
}

#[test]
fn times_that_never_end_do_not_overflow() {
    let policy = BreakerPolicy { failures: 1, open_for: Duration::MAX, window: None };
    let mut machine = Machine::new(policy);
    assert_eq!(machine.apply(Input::Failure(Ticket::closed(0)), NOW), Effect::Opened);
    assert_eq!(machine.apply(Input::Admit, NOW), Effect::Refused(Duration::MAX.saturating_sub(NOW)));
}

/// Every sequence of six steps, each an input and the time it comes after, for both ways to count, each answer compared
/// with the model's.
#[test]
fn every_short_sequence_goes_as_the_model_says() {
    // Open with the first failure, six steps are enough for a trial that hangs, another beside it, and both to end.
    let at_once = [IN_A_ROW, IN_WINDOW].map(|policy| BreakerPolicy { failures: 1, ..policy });
    for policy in [IN_A_ROW, IN_WINDOW].into_iter().chain(at_once) {
        let mut explored = 0;
        model::explore(&Machine::new(policy), &model::Story::new(policy), Duration::ZERO, 6, &mut explored);
        assert!(explored > 100_000, "only {explored} steps");
    }
}
