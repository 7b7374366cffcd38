//! What this process knows of a breaker in Redis, and what it does with a call by that. Pure: the time is an argument.

use std::time::Duration;

use super::script::Answer;
use crate::breaker::machine::{Ticket, Time};
use crate::breaker::state::{BreakerPhase, Reading};

/// How many refreshes old an answer may be that a call goes by while a new one is fetched behind it.
const PATIENCE: u32 = 10;

/// What this process knows of a breaker.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    refresh: Duration,
    known: Option<Known>,
    /// Somebody is asking: the others need not.
    asking: bool,
    /// A success is on its way, and no failure behind it: another would say the same.
    success_told: bool,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    answer: Answer,
    at: Time,
    /// Failures were reported since: whether a success matters is not known.
    failed_since: bool,
}

/// What to do with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Let it in.
    Pass(Ticket),
    /// Refuse it.
    Refuse(Duration),
    /// It has to wait for an answer.
    Ask,
}

impl View {
    pub(super) fn new(refresh: Duration) -> Self {
        Self { refresh, known: None, asking: false, success_told: false }
    }

    /// What to do with a call now, and whether to fetch an answer behind it: whoever is told to fetch does.
    pub(super) fn decide(&mut self, now: Time) -> (Decision, bool) {
        let Some(known) = self.known else { return (Decision::Ask, false) };
        let age = now.saturating_sub(known.at);
        if age >= self.refresh.saturating_mul(PATIENCE) {
            return (Decision::Ask, false);
        }
        let left = known.answer.trial_in.saturating_sub(age);
        let decision = match known.answer.phase {
            BreakerPhase::Closed => Decision::Pass(Ticket::closed(known.answer.period)),
            BreakerPhase::Open | BreakerPhase::HalfOpen if !left.is_zero() => Decision::Refuse(left),
            // Who asks first may be the trial. The others are not kept waiting for what they will not be.
            BreakerPhase::Open | BreakerPhase::HalfOpen if self.asking => Decision::Refuse(Duration::ZERO),
            BreakerPhase::Open | BreakerPhase::HalfOpen => return (Decision::Ask, false),
        };
        let fetch = age >= self.refresh && !self.asking;
        self.asking |= fetch;
        (decision, fetch)
    }

    /// Takes it upon oneself to ask; `false` where somebody does already.
    pub(super) fn claim(&mut self) -> bool {
        !std::mem::replace(&mut self.asking, true)
    }

    /// The one who asked asks no more.
    pub(super) fn asked(&mut self) {
        self.asking = false;
    }

    /// Takes an answer; says where it stood before, if that was known.
    pub(super) fn learn(&mut self, answer: Answer, now: Time) -> Option<BreakerPhase> {
        let before = self.known.replace(Known { answer, at: now, failed_since: false });
        before.map(|known| known.answer.phase)
    }

    /// A call succeeded: whether that is worth saying.
    pub(super) fn succeeded(&mut self, ticket: Ticket, counts_in_window: bool, now: Time) -> bool {
        if ticket.is_trial() {
            return true;
        }
        if counts_in_window || self.success_told {
            return false;
        }
        let is_news = self.known.is_none_or(|known| {
            let is_old = now.saturating_sub(known.at) >= self.refresh;
            known.answer.phase == BreakerPhase::Closed && (known.answer.failures > 0 || known.failed_since || is_old)
        });
        self.success_told = is_news;
        is_news
    }

    /// A success is no longer on its way.
    pub(super) fn told_success(&mut self) {
        self.success_told = false;
    }

    /// A call failed.
    pub(super) fn failed(&mut self) {
        self.success_told = false;
        if let Some(known) = &mut self.known {
            known.failed_since = true;
        }
    }

    pub(super) fn reading(&self, now: Time) -> Reading {
        let Some(known) = self.known else {
            return Reading { phase: BreakerPhase::Closed, failures: 0, trial_in: None };
        };
        let Answer { phase, failures, trial_in, .. } = known.answer;
        let left = trial_in.saturating_sub(now.saturating_sub(known.at));
        Reading { phase, failures, trial_in: (phase == BreakerPhase::Open).then_some(left) }
    }
}
