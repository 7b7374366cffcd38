//! The way to Redis: one task that owns the connection, and a bounded queue before it.
//!
//! Calls never hold the connection, so that none waits behind another. What cannot be said is dropped and counted; while
//! Redis does not answer, nothing is queued at all.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::RedisBreaker;
use super::options::RedisOptions;
use super::script::{Answered, Step};
use super::worker::Worker;
use crate::breaker::machine::{Input, Ticket};

/// How much may wait to be said.
const QUEUE: usize = 1024;

/// The way to Redis, shared by the breakers of an app.
pub(in crate::breaker) struct Link {
    options: RedisOptions,
    status: Arc<Status>,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
}

/// How Redis is doing.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// Redis does not answer: nobody asks it but the worker.
    down: AtomicBool,
    /// How many reports were dropped.
    lost: AtomicU64,
}

impl Status {
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Release);
    }

    /// How many reports were dropped since this was last asked.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// Something to be said to Redis. Dropped unsaid, it takes back what was noted of it.
pub(super) struct Job {
    pub(super) breaker: Arc<RedisBreaker>,
    pub(super) step: Step,
    /// Where somebody waits for the trial.
    reply: Option<oneshot::Sender<Trial>>,
}

/// A trial that was granted. Dropped before anybody has taken it, its place is given back: who asked may have gone, before
/// the answer or after it.
#[derive(Debug)]
pub(super) struct Trial {
    breaker: Arc<RedisBreaker>,
    ticket: Option<Ticket>,
}

impl Trial {
    pub(super) fn take(mut self) -> Option<Ticket> {
        self.ticket.take()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.tell(Input::Release(ticket));
        }
    }
}

impl Job {
    /// Takes the answer.
    pub(super) fn answer(mut self, answered: Answered) {
        let answer = match answered {
            Answered::Breaker(answer) => answer,
            Answered::NotOurs(kind) => return self.breaker.not_ours(&kind),
        };
        self.breaker.learn(answer);
        if answer.granted.is_some() {
            let trial = Trial { breaker: Arc::clone(&self.breaker), ticket: answer.granted };
            drop(self.reply.take().map(|reply| reply.send(trial)));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        match self.step {
            Step::Look | Step::Take(Input::Admit) => self.breaker.asked(),
            Step::Take(Input::Success(_)) => self.breaker.told_success(),
            Step::Take(Input::Failure(_) | Input::Release(_)) => {}
        }
    }
}

impl Link {
    pub(in crate::breaker) fn new(options: RedisOptions) -> Self {
        Self { options, status: Arc::default(), queue: Mutex::new(None) }
    }

    pub(super) fn options(&self) -> &RedisOptions {
        &self.options
    }

    pub(super) fn is_down(&self) -> bool {
        self.status.is_down()
    }

    /// Asks; the answer comes to the breaker, and a trial that is granted here.
    pub(super) fn ask(&self, breaker: &Arc<RedisBreaker>, step: Step) -> oneshot::Receiver<Trial> {
        let (reply, answer) = oneshot::channel();
        self.send(Job { breaker: Arc::clone(breaker), step, reply: Some(reply) });
        answer
    }

    /// Says something that nobody waits for.
    pub(super) fn tell(&self, breaker: &Arc<RedisBreaker>, step: Step) {
        self.send(Job { breaker: Arc::clone(breaker), step, reply: None });
    }

    fn send(&self, job: Job) {
        if self.is_down() {
            return self.lose(&job);
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match queue.as_ref() {
            Some(sender) => sender.try_send(job),
            None => Err(TrySendError::Closed(job)),
        };
        let job = match refused {
            Ok(()) => return,
            Err(TrySendError::Full(job)) => return self.lose(&job),
            // There is no worker yet, or none any more: the runtime that ran it has ended.
            Err(TrySendError::Closed(job)) => job,
        };
        let Some(sender) = self.start() else { return self.lose(&job) };
        if let Err(TrySendError::Full(job) | TrySendError::Closed(job)) = sender.try_send(job) {
            self.lose(&job);
        }
        *queue = Some(sender);
    }

    /// Starts the worker in the runtime of the caller.
    fn start(&self) -> Option<mpsc::Sender<Job>> {
        let runtime = Handle::try_current().ok()?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        runtime.spawn(Worker::new(&self.options, Arc::clone(&self.status)).run(receiver));
        Some(sender)
    }

    fn lose(&self, job: &Job) {
        if matches!(job.step, Step::Take(Input::Success(_) | Input::Failure(_))) {
            self.status.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("options", &self.options).field("status", &self.status).finish_non_exhaustive()
    }
}
