//! A breaker that remembers everything that ever happened and decides from that alone: slow, and easy to believe.

use std::time::Duration;

use super::super::{Effect, Input, Machine, Ticket, Time};
use super::ticks;
use crate::breaker::policy::BreakerPolicy;

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Success(Time),
    Failure(Time),
    Opened(Time),
    Closed,
    Trial(Time),
    TrialGone,
}

/// All that happened, and the calls that were let in and have not ended.
#[derive(Debug, Clone)]
pub(super) struct Story {
    policy: BreakerPolicy,
    events: Vec<Event>,
    /// Calls under way, by ticket, each with how many events there were when it was let in.
    calls: Vec<(Ticket, usize)>,
}

impl Story {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, events: Vec::new(), calls: Vec::new() }
    }

    /// The events since the breaker last opened or closed, and whether it opened then, and when.
    fn period(&self) -> (&[Event], Option<Time>) {
        let turn = self.events.iter().rposition(|event| matches!(event, Event::Opened(_) | Event::Closed));
        match turn.map(|at| (at, self.events[at])) {
            Some((at, Event::Opened(when))) => (&self.events[at + 1..], Some(when)),
            Some((at, _)) => (&self.events[at + 1..], None),
            None => (&self.events, None),
        }
    }

    /// Until when calls are refused, if they are.
    fn refused_until(&self) -> Option<Time> {
        let (events, opened) = self.period();
        let opened = opened?;
        Some(match events.last() {
            None => opened + self.policy.open_for,
            Some(Event::Trial(begun)) => *begun + self.policy.open_for,
            Some(_) => Duration::ZERO,
        })
    }

    fn admits(&self, now: Time) -> Result<bool, Duration> {
        match self.refused_until() {
            None => Ok(false),
            Some(until) if now >= until => Ok(true),
            Some(until) => Err(until.saturating_sub(now)),
        }
    }

    /// Whether a call was let in before the breaker last opened or closed.
    fn is_late(&self, begun: usize) -> bool {
        begun < self.events.len() - self.period().0.len()
    }

    /// Whether the breaker opens with the failure that has just been remembered.
    fn is_enough(&self, now: Time) -> bool {
        let (events, _) = self.period();
        let counted = match self.policy.window {
            None => events.iter().rev().take_while(|event| matches!(event, Event::Failure(_))).count(),
            Some(window) => {
                events.iter().filter(|event| matches!(event, Event::Failure(when) if now < *when + window)).count()
            }
        };
        counted >= self.policy.failures as usize
    }

    fn success(&mut self, call: usize, now: Time) -> Effect {
        let (ticket, begun) = self.calls.remove(call);
        if self.is_late(begun) {
            return Effect::None;
        }
        if ticket.is_trial() {
            self.events.push(Event::Closed);
            return Effect::Closed;
        }
        self.events.push(Event::Success(now));
        Effect::None
    }

    fn failure(&mut self, call: usize, now: Time) -> Effect {
        let (ticket, begun) = self.calls.remove(call);
        if self.is_late(begun) {
            return Effect::None;
        }
        if ticket.is_trial() {
            if !self.is_latest(begun) {
                return Effect::None;
            }
        } else {
            self.events.push(Event::Failure(now));
            if !self.is_enough(now) {
                return Effect::None;
            }
        }
        self.events.push(Event::Opened(now));
        Effect::Opened
    }

    fn release(&mut self, call: usize) {
        let (ticket, begun) = self.calls.remove(call);
        if ticket.is_trial() && self.is_latest(begun) {
            self.events.push(Event::TrialGone);
        }
    }

    /// Whether a trial's beginning is the last thing that happened.
    fn is_latest(&self, begun: usize) -> bool {
        begun == self.events.len() && matches!(self.events.last(), Some(Event::Trial(_)))
    }
}

/// Tries everything that may come next, and next after that, `left` times over.
pub(super) fn explore(machine: &Machine, story: &Story, now: Time, left: u32, explored: &mut u64) {
    if left == 0 {
        return;
    }
    // Before, at, and past the edges of the window (5) and of the time it stays open (10).
    for pause in [0, 4, 6, 10].map(ticks) {
        let now = now + pause;
        for step in steps(story) {
            *explored += 1;
            let (mut machine, mut story) = (machine.clone(), story.clone());
            take(step, &mut machine, &mut story, now);
            explore(&machine, &story, now, left - 1, explored);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Admit,
    Success(usize),
    Failure(usize),
    Release(usize),
}

/// What may come next: a call, or an end of the first or last of those under way.
fn steps(story: &Story) -> Vec<Step> {
    let mut steps = vec![Step::Admit];
    let calls = story.calls.len();
    let ends = if calls > 1 { vec![0, calls - 1] } else { (0..calls).collect() };
    for call in ends {
        steps.extend([Step::Success(call), Step::Failure(call), Step::Release(call)]);
    }
    steps
}

fn take(step: Step, machine: &mut Machine, story: &mut Story, now: Time) {
    let before = story.events.len();
    let told = |story: &Story| format!("{step:?} at {now:?} after {:?}", &story.events[..before]);
    match step {
        Step::Admit => match (machine.apply(Input::Admit, now), story.admits(now)) {
            (Effect::Admitted(ticket), Ok(is_trial)) => {
                assert_eq!(ticket.is_trial(), is_trial, "{}", told(story));
                if is_trial {
                    story.events.push(Event::Trial(now));
                }
                story.calls.push((ticket, story.events.len()));
            }
            (effect, expected) => assert_eq!(Err(effect), expected.map_err(Effect::Refused), "{}", told(story)),
        },
        Step::Success(call) => {
            let effect = machine.apply(Input::Success(story.calls[call].0), now);
            let expected = story.success(call, now);
            assert_eq!(effect, expected, "{}", told(story));
        }
        Step::Failure(call) => {
            let effect = machine.apply(Input::Failure(story.calls[call].0), now);
            let expected = story.failure(call, now);
            assert_eq!(effect, expected, "{}", told(story));
        }
        Step::Release(call) => {
            let effect = machine.apply(Input::Release(story.calls[call].0), now);
            story.release(call);
            assert_eq!(effect, Effect::None, "{}", told(story));
        }
    }
}
