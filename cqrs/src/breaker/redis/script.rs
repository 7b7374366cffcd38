//! The script that is the breaker in Redis: what it is asked, and what it answers.

use std::time::Duration;

use redis::{Cmd, Script, Value};

use crate::breaker::machine::{Input, Ticket};
use crate::breaker::policy::BreakerPolicy;
use crate::breaker::state::BreakerPhase;

/// The server's clock.
const CLOCK: &str = include_str!("clock.lua");
/// The breaker.
const BREAKER: &str = include_str!("breaker.lua");
/// The largest number that is exact in the script.
const MOST: u64 = 1 << 53;
/// The ticket of a call that was let in while nobody could be asked: its failure counts, whatever the period is.
pub(super) const BLIND: Ticket = Ticket::closed(MOST - 1);
/// How long a breaker is remembered that nothing happens to, beside its own times.
const MEMORY: Duration = Duration::from_hours(24);

/// What a breaker is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// How it stands, and nothing else.
    Look,
    /// What the machine takes: a call wants in, or has ended.
    Take(Input),
}

/// How a breaker stands in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) phase: BreakerPhase,
    pub(super) failures: u32,
    /// How long until a call may be the trial.
    pub(super) trial_in: Duration,
    pub(super) period: u64,
    /// The ticket of the trial, where the call that asked is it.
    pub(super) granted: Option<Ticket>,
    /// Whether what was there before made no sense, and was thrown away.
    pub(super) mended: bool,
}

/// What the script answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answered {
    Breaker(Answer),
    /// The key holds something else, of this type: it is not touched.
    NotOurs(String),
}

/// The script, ready to be run.
pub(super) struct Breaking {
    text: String,
    /// What the server calls it by, once it has seen it.
    hash: String,
}

impl Breaking {
    pub(super) fn new() -> Self {
        Self::with_clock(CLOCK)
    }

    /// The script with another clock, which tests set.
    pub(super) fn with_clock(clock: &str) -> Self {
        let text = format!("{clock}\n{BREAKER}");
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Runs the script by the name the server knows it by.
    pub(super) fn by_name(&self, key: &str, policy: &BreakerPolicy, step: Step) -> Cmd {
        arguments("EVALSHA", &self.hash, key, policy, step)
    }

    /// Runs the script by its text: the server may have forgotten it.
    pub(super) fn by_text(&self, key: &str, policy: &BreakerPolicy, step: Step) -> Cmd {
        arguments("EVAL", &self.text, key, policy, step)
    }
}

fn arguments(command: &str, script: &str, key: &str, policy: &BreakerPolicy, step: Step) -> Cmd {
    let (word, ticket) = match step {
        Step::Look => ("look", Ticket::closed(0)),
        Step::Take(Input::Admit) => ("admit", Ticket::closed(0)),
        Step::Take(Input::Success(ticket)) => ("success", ticket),
        Step::Take(Input::Failure(ticket)) => ("failure", ticket),
        Step::Take(Input::Release(ticket)) => ("release", ticket),
    };
    let window = policy.window.unwrap_or_default();
    let memory = MEMORY.saturating_add(policy.open_for.saturating_mul(2)).saturating_add(window);
    let mut cmd = redis::cmd(command);
    cmd.arg(script).arg(1).arg(key).arg(word).arg(policy.failures);
    cmd.arg(millis(policy.open_for)).arg(millis(window)).arg(millis(memory)).arg(ticket.period).arg(ticket.trial);
    cmd
}

/// In milliseconds, at most a thousand years: sums of them and the time of day stay exact.
fn millis(duration: Duration) -> u64 {
    const MILLENNIUM: u64 = 1000 * 366 * 24 * 60 * 60 * 1000;
    u64::try_from(duration.as_millis()).unwrap_or(MILLENNIUM).min(MILLENNIUM)
}

/// Reads an answer; `None` for anything the script does not say.
pub(super) fn read(value: Value) -> Option<Answered> {
    type Fields = (i64, u32, u64, u64, u64, u8, u8, String);
    let (phase, failures, left, period, trial, granted, mended, kind): Fields = redis::from_redis_value(value).ok()?;
    let phase = match phase {
        0 => BreakerPhase::Closed,
        1 => BreakerPhase::Open,
        2 => BreakerPhase::HalfOpen,
        -1 => return Some(Answered::NotOurs(kind)),
        _ => return None,
    };
    Some(Answered::Breaker(Answer {
        phase,
        failures,
        trial_in: Duration::from_millis(left),
        period,
        granted: (granted == 1).then_some(Ticket { period, trial }),
        mended: mended == 1,
    }))
}
