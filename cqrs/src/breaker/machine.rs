//! A breaker's state, and what each input makes of it. Pure: the time is an argument.
//!
//! - Closed: calls pass, failures are counted. Without a window a success sets the count back to zero; with one, what
//!   counts are the failures of the last `window`, whatever succeeded in between. Enough of them open it.
//! - Open: calls are refused for `open_for`. The first call after that is the trial.
//! - Half-open: the trial is under way and everything else is refused. Its success closes the breaker, its failure opens
//!   it anew. A trial that ends without either frees its place. One that takes longer than `open_for` lets another begin
//!   beside it; should it still succeed, the breaker closes, since otherwise calls slower than `open_for` would keep it
//!   half-open for ever; its failure then says nothing that is not known.
//!
//! What a call reports names the period it was let in: a call that was let in before the breaker opened does not close or
//! open it later.

use std::collections::VecDeque;
use std::time::Duration;

use super::policy::BreakerPolicy;

#[cfg(test)]
mod tests;

/// A point in time, from wherever the clock begins.
pub(super) type Time = Duration;

/// Says when a call was let in, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Ends whenever the breaker opens or closes.
    pub(super) period: u64,
    /// The number of the trial; 0 for a call of a closed breaker.
    pub(super) trial: u64,
}

impl Ticket {
    pub(super) const fn closed(period: u64) -> Self {
        Self { period, trial: 0 }
    }

    pub(super) const fn is_trial(self) -> bool {
        self.trial != 0
    }
}

/// What happens to a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// A call wants in.
    Admit,
    /// A call that was let in succeeded.
    Success(Ticket),
    /// A call that was let in failed.
    Failure(Ticket),
    /// A call that was let in ended without being either: dropped, or with an error that does not count.
    Release(Ticket),
}

/// What comes of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that anybody waits for.
    None,
    /// The call is let in.
    Admitted(Ticket),
    /// The call is refused; it may be let in after this long.
    Refused(Duration),
    /// The breaker is open from now on.
    Opened,
    /// The breaker is closed from now on.
    Closed,
}

/// Where a breaker stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Calls pass.
    Closed(Failures),
    /// Calls are refused until then.
    Open { until: Time },
    /// One call at a time is let in to see.
    HalfOpen { trial: Option<Trial> },
}

/// The failures that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failures {
    InARow(u32),
    /// When they were, the oldest first; never more than open the breaker.
    InWindow(VecDeque<Time>),
}

/// The trial under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trial {
    /// After this, another may begin.
    pub(super) until: Time,
}

/// A breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    policy: BreakerPolicy,
    state: State,
    period: u64,
    /// The number of the latest trial of this period.
    trials: u64,
}

impl Machine {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: State::Closed(Failures::none(policy)), period: 0, trials: 0 }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn period(&self) -> u64 {
        self.period
    }

    /// Whether a success changes anything while the breaker is closed.
    pub(super) fn heeds_success(&self) -> bool {
        matches!(self.state, State::Closed(Failures::InARow(1..)))
    }

    /// How many failures count at a time.
    pub(super) fn failures(&self, now: Time) -> u32 {
        match &self.state {
            State::Closed(Failures::InARow(count)) => *count,
            State::Closed(Failures::InWindow(times)) => {
                let recent = times.iter().filter(|time| self.is_recent(**time, now)).count();
                u32::try_from(recent).unwrap_or(u32::MAX)
            }
            State::Open { .. } | State::HalfOpen { .. } => self.policy.failures,
        }
    }

    /// Takes an input.
    pub(super) fn apply(&mut self, input: Input, now: Time) -> Effect {
        match input {
            Input::Admit => self.admit(now),
            Input::Success(ticket) if ticket.period == self.period => self.success(ticket),
            Input::Failure(ticket) if ticket.period == self.period => self.failure(ticket, now),
            Input::Release(ticket) if self.is_under_way(ticket) => {
                self.state = State::HalfOpen { trial: None };
                Effect::None
            }
            Input::Success(_) | Input::Failure(_) | Input::Release(_) => Effect::None,
        }
    }

    fn admit(&mut self, now: Time) -> Effect {
        let until = match &self.state {
            State::Closed(_) => return Effect::Admitted(Ticket::closed(self.period)),
            State::Open { until } | State::HalfOpen { trial: Some(Trial { until }) } => *until,
            State::HalfOpen { trial: None } => now,
        };
        if now < until {
            return Effect::Refused(until.saturating_sub(now));
        }
        self.trials += 1;
        self.state = State::HalfOpen { trial: Some(Trial { until: now.saturating_add(self.policy.open_for) }) };
        Effect::Admitted(Ticket { period: self.period, trial: self.trials })
    }

    fn success(&mut self, ticket: Ticket) -> Effect {
        match &mut self.state {
            State::Closed(Failures::InARow(count)) => *count = 0,
            State::HalfOpen { .. } if ticket.is_trial() => {
                self.enter(State::Closed(Failures::none(self.policy)));
                return Effect::Closed;
            }
            State::Closed(Failures::InWindow(_)) | State::Open { .. } | State::HalfOpen { .. } => {}
        }
        Effect::None
    }

    fn failure(&mut self, ticket: Ticket, now: Time) -> Effect {
        let enough = match &mut self.state {
            State::Closed(Failures::InARow(count)) => {
                *count = count.saturating_add(1);
                *count >= self.policy.failures
            }
            State::Closed(Failures::InWindow(times)) => {
                times.push_back(now);
                if times.len() > self.policy.failures as usize {
                    times.pop_front();
                }
                self.failures(now) >= self.policy.failures
            }
            State::Open { .. } | State::HalfOpen { .. } => self.is_under_way(ticket),
        };
        if !enough {
            return Effect::None;
        }
        self.enter(State::Open { until: now.saturating_add(self.policy.open_for) });
        Effect::Opened
    }

    /// Whether a ticket is that of the trial everything waits for.
    fn is_under_way(&self, ticket: Ticket) -> bool {
        ticket == Ticket { period: self.period, trial: self.trials }
            && matches!(self.state, State::HalfOpen { trial: Some(_) })
    }

    fn is_recent(&self, time: Time, now: Time) -> bool {
        self.policy.window.is_none_or(|window| now.saturating_sub(time) < window)
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.period += 1;
        self.trials = 0;
    }
}

impl Failures {
    fn none(policy: BreakerPolicy) -> Self {
        if policy.window.is_some() { Self::InWindow(VecDeque::new()) } else { Self::InARow(0) }
    }
}
