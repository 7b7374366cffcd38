//! The breakers of an app, and how a call asks one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::breakers::{Breakers, Source};
use super::declared::{self, Declared};
pub(crate) use super::machine::Ticket;
use super::machine::{Effect, Input};
use super::memory::MemoryBreaker;
use super::policy::{BreakerOptions, BreakerPolicy};
#[cfg(feature = "redis")]
use super::redis::{Link, RedisBreaker};
use super::state::BreakerState;
use crate::clock::Clock;
use crate::store::driver::BoxFuture;

#[cfg(test)]
mod tests;

/// The breakers of an app. Made once, when the app starts; nothing is looked up while it runs.
#[derive(Debug, Default)]
pub(crate) struct Panel {
    breakers: BTreeMap<String, Arc<Breaker>>,
}

impl Panel {
    /// Makes every breaker that somebody declares. Does no I/O.
    pub(crate) fn new(breakers: &Breakers, clock: &Arc<Clock>, defaults: BreakerPolicy, declared: &[Declared]) -> Self {
        let places = Places::of(breakers);
        let made = declared::by_key(declared).into_iter().map(|(name, handlers)| {
            let policy = declared::policy(&handlers, defaults);
            let breaker = Breaker {
                name: name.to_owned(),
                handlers: handlers.iter().map(|one| one.path.clone()).collect(),
                policy,
                clock: Arc::clone(clock),
                place: places.make(name, policy),
            };
            (name.to_owned(), Arc::new(breaker))
        });
        Self { breakers: made.collect() }
    }

    /// The breaker of a handler that declared one: to be kept beside the handler.
    pub(crate) fn of(&self, path: &str, options: BreakerOptions) -> Option<Arc<Breaker>> {
        self.breakers.get(declared::key(path, options)).cloned()
    }

    /// How all of them stand, by name.
    pub(crate) fn states(&self) -> Vec<BreakerState> {
        self.breakers.values().map(|breaker| breaker.state()).collect()
    }
}

/// One breaker of an app.
#[derive(Debug)]
pub(crate) struct Breaker {
    name: String,
    handlers: Vec<String>,
    policy: BreakerPolicy,
    clock: Arc<Clock>,
    place: Place,
}

/// Where a breaker's state is.
#[derive(Debug)]
enum Place {
    Memory(MemoryBreaker),
    #[cfg(feature = "redis")]
    Redis(Arc<RedisBreaker>),
}

/// Where the breakers of an app are made.
enum Places {
    Memory,
    #[cfg(feature = "redis")]
    Redis(Arc<Link>),
}

impl Places {
    fn of(breakers: &Breakers) -> Self {
        match &breakers.0 {
            Source::Memory => Self::Memory,
            #[cfg(feature = "redis")]
            Source::Redis(options) => Self::Redis(Arc::new(Link::new(options.clone()))),
        }
    }

    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "a breaker within the process needs no name"))]
    fn make(&self, name: &str, policy: BreakerPolicy) -> Place {
        match self {
            Self::Memory => Place::Memory(MemoryBreaker::new(policy)),
            #[cfg(feature = "redis")]
            Self::Redis(link) => Place::Redis(RedisBreaker::new(name, policy, link)),
        }
    }
}

/// A call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// When a call may be let in again.
    pub(crate) retry_after: Duration,
}

impl Breaker {
    /// Asks to be let in, without waiting. `None`: Redis must be asked, by [`admit`](Self::admit).
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unnecessary_wraps, reason = "only a breaker in Redis has to be asked")
    )]
    #[inline]
    pub(crate) fn try_admit(&self) -> Option<Result<Permit<'_>, Open>> {
        match &self.place {
            Place::Memory(memory) => match memory.pass() {
                Some(ticket) => Some(Ok(Permit { breaker: self, ticket })),
                None => Some(self.ask_memory(memory)),
            },
            #[cfg(feature = "redis")]
            Place::Redis(redis) => redis.pass().map(|answer| self.answer(answer)),
        }
    }

    /// Asks to be let in.
    #[inline]
    pub(crate) async fn admit(&self) -> Result<Permit<'_>, Open> {
        match self.try_admit() {
            Some(answer) => answer,
            None => self.ask().await,
        }
    }

    /// Lets a call in if nobody has to be asked and it is no trial.
    #[inline]
    pub(crate) fn pass(&self) -> Option<Ticket> {
        match &self.place {
            Place::Memory(memory) => memory.pass(),
            #[cfg(feature = "redis")]
            Place::Redis(redis) => redis.pass()?.ok().filter(|ticket| !ticket.is_trial()),
        }
    }

    /// A call that [`pass`](Self::pass) let in succeeded.
    #[inline]
    pub(crate) fn passed(&self, ticket: Ticket) {
        self.permit(ticket).success();
    }

    /// What a call that [`pass`](Self::pass) let in says how it ended by.
    #[inline]
    pub(crate) fn permit(&self, ticket: Ticket) -> Permit<'_> {
        Permit { breaker: self, ticket }
    }

    /// How it stands.
    pub(crate) fn state(&self) -> BreakerState {
        let reading = match &self.place {
            Place::Memory(memory) => memory.reading(self.clock.steady()),
            #[cfg(feature = "redis")]
            Place::Redis(redis) => redis.reading(),
        };
        BreakerState {
            name: self.name.clone(),
            handlers: self.handlers.clone(),
            phase: reading.phase,
            failures: reading.failures,
            threshold: self.policy.failures,
            trial_in: reading.trial_in,
        }
    }

    fn answer(&self, answer: Result<Ticket, Duration>) -> Result<Permit<'_>, Open> {
        match answer {
            Ok(ticket) => Ok(Permit { breaker: self, ticket }),
            Err(retry_after) => Err(Open { retry_after }),
        }
    }

    /// Boxed: so that the future of a call that need not ask stays small.
    #[cold]
    fn ask(&self) -> BoxFuture<'_, Result<Permit<'_>, Open>> {
        match &self.place {
            Place::Memory(memory) => {
                let answer = self.ask_memory(memory);
                Box::pin(std::future::ready(answer))
            }
            #[cfg(feature = "redis")]
            Place::Redis(redis) => Box::pin(async move { self.answer(redis.ask().await) }),
        }
    }

    #[cold]
    fn ask_memory(&self, memory: &MemoryBreaker) -> Result<Permit<'_>, Open> {
        let answer = match memory.apply(Input::Admit, self.clock.steady()) {
            Effect::Admitted(ticket) => Ok(ticket),
            Effect::Refused(left) => Err(left),
            Effect::None | Effect::Opened | Effect::Closed => Err(Duration::ZERO),
        };
        if answer.is_ok_and(Ticket::is_trial) {
            tracing::info!(breaker = self.name, "circuit breaker half-open: one call is let in to see");
        }
        self.answer(answer)
    }

    fn report(&self, input: Input) {
        let effect = match &self.place {
            Place::Memory(memory) => memory.apply(input, self.clock.steady()),
            // It tells of what it learns: most of that happens in other processes.
            #[cfg(feature = "redis")]
            Place::Redis(redis) => return redis.report(input),
        };
        match effect {
            Effect::Opened => tracing::warn!(
                breaker = self.name, failures = self.policy.failures, trial_in = ?self.policy.open_for,
                "circuit breaker open: its handlers are not called for a while"
            ),
            Effect::Closed => tracing::info!(breaker = self.name, "circuit breaker closed: the trial succeeded"),
            Effect::None | Effect::Admitted(_) | Effect::Refused(_) => {}
        }
    }
}

/// Held by a call that a breaker let in, until it says how it ended. Dropped, it says nothing: a trial's place is free
/// for the next call.
#[must_use = "a call that was let in says how it ended"]
#[derive(Debug)]
pub(crate) struct Permit<'b> {
    breaker: &'b Breaker,
    ticket: Ticket,
}

impl Permit<'_> {
    /// Whether it is the one call that a half-open breaker lets in.
    #[cfg(test)]
    pub(crate) fn is_trial(&self) -> bool {
        self.ticket.is_trial()
    }

    /// Whether nobody could be asked.
    #[cfg(all(test, feature = "redis"))]
    pub(super) fn is_blind(&self) -> bool {
        super::redis::is_blind(self.ticket)
    }

    /// The call succeeded.
    #[inline]
    pub(crate) fn success(mut self) {
        if let Place::Memory(memory) = &self.breaker.place
            && memory.needs_no_success(self.ticket)
        {
            return;
        }
        let ticket = self.spend();
        self.breaker.report(Input::Success(ticket));
    }

    /// The call failed, in a way that counts.
    pub(crate) fn failure(mut self) {
        let ticket = self.spend();
        self.breaker.report(Input::Failure(ticket));
    }

    /// Takes the ticket, so that nothing is left to give back.
    fn spend(&mut self) -> Ticket {
        std::mem::replace(&mut self.ticket, Ticket::closed(0))
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.ticket.is_trial() {
            let ticket = self.spend();
            self.breaker.report(Input::Release(ticket));
        }
    }
}
