//! Breakers that several processes share, in Redis.
//!
//! One step of a breaker is one run of a script (`breaker.lua`, asked by `script`), which Redis runs by itself: so the
//! half-open breaker lets one trial through over all processes. `view` is what this process knows of a breaker and what
//! it does with a call by that, `link` the queue to Redis, `worker` the task at its other end.
//!
//! A call goes by what is known. It waits for Redis, for `timeout` at most, only where nothing is known, where what is
//! known is old, or where it may be the trial; what is a little old is fetched anew behind the call, once per `refresh`.
//! How a call ended is told to Redis behind it. While Redis cannot be asked every breaker counts as closed.

mod link;
mod options;
mod script;
#[cfg(test)]
mod tests;
mod view;
mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub(super) use self::link::Link;
pub(super) use self::options::RedisOptions;
use self::script::{Answer, BLIND, Step};
use self::view::{Decision, View};
use super::machine::{Input, Ticket, Time};
use super::policy::BreakerPolicy;
use super::state::{BreakerPhase, Reading};

/// Whether a ticket is that of a call that was let in because nobody could be asked.
#[cfg(test)]
pub(super) fn is_blind(ticket: Ticket) -> bool {
    ticket == BLIND
}

/// A breaker that several processes share.
#[derive(Debug)]
pub(super) struct RedisBreaker {
    name: String,
    key: String,
    policy: BreakerPolicy,
    link: Arc<Link>,
    begun: Instant,
    view: Mutex<View>,
    /// Rung when an answer has come, or will not.
    answered: Notify,
    /// It was said that the key is somebody else's.
    told_not_ours: AtomicBool,
}

impl RedisBreaker {
    pub(super) fn new(name: &str, policy: BreakerPolicy, link: &Arc<Link>) -> Arc<Self> {
        let options = link.options();
        Arc::new(Self {
            name: name.to_owned(),
            key: format!("{}:breaker:{name}", options.prefix),
            policy,
            link: Arc::clone(link),
            begun: Instant::now(),
            view: Mutex::new(View::new(options.refresh)),
            answered: Notify::new(),
            told_not_ours: AtomicBool::new(false),
        })
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn policy(&self) -> &BreakerPolicy {
        &self.policy
    }

    /// Lets a call in or refuses it by what is known. `None`: it has to [`ask`](Self::ask).
    pub(super) fn pass(self: &Arc<Self>) -> Option<Result<Ticket, Duration>> {
        if self.link.is_down() {
            return Some(Ok(BLIND));
        }
        let (decision, fetch) = self.view().decide(self.now());
        if fetch {
            self.link.tell(self, Step::Look);
        }
        match decision {
            Decision::Pass(ticket) => Some(Ok(ticket)),
            Decision::Refuse(left) => Some(Err(left)),
            Decision::Ask => None,
        }
    }

    /// Asks Redis, or waits for whoever does. A call that gets no answer in time is let in.
    pub(super) async fn ask(self: &Arc<Self>) -> Result<Ticket, Duration> {
        let deadline = Instant::now() + self.link.options().timeout;
        let mut asked = false;
        loop {
            let mut answered = std::pin::pin!(self.answered.notified());
            answered.as_mut().enable();
            if let Some(known) = self.pass() {
                return known;
            }
            if asked {
                return Ok(BLIND);
            }
            if self.claim() {
                asked = true;
                let granted = self.link.ask(self, Step::Take(Input::Admit));
                match tokio::time::timeout_at(deadline, granted).await {
                    Ok(Ok(trial)) => return Ok(trial.take().unwrap_or(BLIND)),
                    // What was answered is known by now; or nobody answers.
                    Ok(Err(_)) => {}
                    Err(_) => return Ok(BLIND),
                }
            } else if tokio::time::timeout_at(deadline, answered).await.is_err() {
                return Ok(BLIND);
            }
        }
    }

    /// A call that was let in has ended.
    pub(super) fn report(self: &Arc<Self>, input: Input) {
        let is_news = match input {
            Input::Success(ticket) => self.view().succeeded(ticket, self.policy.window.is_some(), self.now()),
            Input::Failure(_) => {
                self.view().failed();
                true
            }
            Input::Release(ticket) => ticket.is_trial(),
            Input::Admit => false,
        };
        if is_news {
            self.tell(input);
        }
    }

    pub(super) fn reading(&self) -> Reading {
        if self.link.is_down() {
            return Reading { phase: BreakerPhase::Closed, failures: 0, trial_in: None };
        }
        self.view().reading(self.now())
    }

    fn tell(self: &Arc<Self>, input: Input) {
        self.link.tell(self, Step::Take(input));
    }

    /// Takes it upon the caller to ask, if nobody does already.
    fn claim(&self) -> bool {
        self.view().claim()
    }

    /// Nobody asks any more.
    fn asked(&self) {
        self.view().asked();
        self.answered.notify_waiters();
    }

    /// A success is no longer on its way.
    fn told_success(&self) {
        self.view().told_success();
    }

    /// Takes an answer.
    fn learn(&self, answer: Answer) {
        let before = self.view().learn(answer, self.now());
        self.answered.notify_waiters();
        self.told_not_ours.store(false, Ordering::Relaxed);
        let breaker = self.name.as_str();
        if answer.mended {
            tracing::warn!(
                breaker,
                key = self.key,
                "what Redis held of a circuit breaker made no sense: it begins anew, closed"
            );
        }
        if before.unwrap_or(BreakerPhase::Closed) == answer.phase {
            return;
        }
        match answer.phase {
            BreakerPhase::Open => tracing::warn!(
                breaker, failures = self.policy.failures, trial_in = ?answer.trial_in,
                "circuit breaker open: its handlers are not called for a while"
            ),
            BreakerPhase::HalfOpen => {
                tracing::info!(breaker, "circuit breaker half-open: one call is let in to see");
            }
            BreakerPhase::Closed => tracing::info!(breaker, "circuit breaker closed: the trial succeeded"),
        }
    }

    /// The key holds something else: the breaker is closed, and what is there stays.
    fn not_ours(&self, kind: &str) {
        let closed = Answer {
            phase: BreakerPhase::Closed,
            failures: 0,
            trial_in: Duration::ZERO,
            period: BLIND.period,
            granted: None,
            mended: false,
        };
        self.view().learn(closed, self.now());
        if !self.told_not_ours.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                breaker = self.name,
                key = self.key,
                kind,
                "the key of a circuit breaker holds something else in Redis: the breaker counts as closed until the key is gone, or another `prefix` is given"
            );
        }
    }

    fn now(&self) -> Time {
        self.begun.elapsed()
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
