//! A breaker within this process: a machine behind a lock, and beside it one word that is enough while all is well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::machine::{Effect, Input, Machine, State, Ticket, Time};
use super::policy::BreakerPolicy;
use super::state::{BreakerPhase, Reading};

/// Calls are not simply let in: the machine must be asked.
const GUARDED: u64 = 0b01;
/// A success must be told to the machine.
const HEEDS_SUCCESS: u64 = 0b10;
const FLAGS: u32 = 2;

/// A breaker within this process.
#[derive(Debug)]
pub(super) struct MemoryBreaker {
    /// The period and two flags; written under the lock, so that it is never ahead of the machine.
    word: AtomicU64,
    machine: Mutex<Machine>,
}

impl MemoryBreaker {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        let machine = Machine::new(policy);
        Self { word: AtomicU64::new(word_of(&machine)), machine: Mutex::new(machine) }
    }

    /// Lets a call in without a lock, if the breaker is closed.
    #[inline]
    pub(super) fn pass(&self) -> Option<Ticket> {
        let word = self.word.load(Ordering::Acquire);
        (word & GUARDED == 0).then(|| Ticket::closed(word >> FLAGS))
    }

    /// Whether the success of a call changes nothing.
    #[inline]
    pub(super) fn needs_no_success(&self, ticket: Ticket) -> bool {
        self.word.load(Ordering::Acquire) == ticket.period << FLAGS && !ticket.is_trial()
    }

    /// Tells the machine.
    pub(super) fn apply(&self, input: Input, now: Time) -> Effect {
        let mut machine = self.lock();
        let effect = machine.apply(input, now);
        self.word.store(word_of(&machine), Ordering::Release);
        effect
    }

    pub(super) fn reading(&self, now: Time) -> Reading {
        let machine = self.lock();
        let (phase, until) = match machine.state() {
            State::Closed(_) => (BreakerPhase::Closed, None),
            State::Open { until } => (BreakerPhase::Open, Some(*until)),
            State::HalfOpen { .. } => (BreakerPhase::HalfOpen, None),
        };
        Reading { phase, failures: machine.failures(now), trial_in: until.map(|until| until.saturating_sub(now)) }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn word_of(machine: &Machine) -> u64 {
    let guarded = if matches!(machine.state(), State::Closed(_)) { 0 } else { GUARDED };
    let heeds = if machine.heeds_success() { HEEDS_SUCCESS } else { 0 };
    machine.period() << FLAGS | guarded | heeds
}
