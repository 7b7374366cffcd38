//! A member of a consumer group, as the app holds it. The thread of [`poller`](super::poller) does the talking.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::error::closed;
use super::state::{Partition, State};
use super::{Shared, poller};
use crate::broker::BrokerError;
use crate::broker::driver::{Consumer, Incoming, Receipt, Settlement, Subscription};
use crate::retry::{RetryPolicy, random};
use crate::store::driver::BoxFuture;

/// How long leaving the group may take before it is left to itself.
const LEAVING: Duration = Duration::from_secs(15);

/// What the app and the thread share.
pub(super) struct Desk {
    inner: Mutex<Inner>,
    /// Wakes the thread.
    bell: Condvar,
    /// Wakes who receives.
    arrived: Notify,
}

struct Inner {
    state: State,
    /// Somebody rang since the thread looked last.
    rung: bool,
    closing: bool,
    /// What `receive` has to say before it waits on.
    failure: Option<BrokerError>,
}

impl Desk {
    pub(super) fn new(prefetch: usize) -> Self {
        let inner = Inner { state: State::new(prefetch), rung: false, closing: false, failure: None };
        Self { inner: Mutex::new(inner), bell: Condvar::new(), arrived: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what is held, or changes it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.lock().state)
    }

    /// Wakes the thread: there is something to do for it.
    pub(super) fn ring(&self) {
        self.lock().rung = true;
        self.bell.notify_all();
    }

    /// Waits until somebody rings, at most so long.
    pub(super) fn wait(&self, most: Duration) {
        let mut inner = self.lock();
        if !inner.rung {
            inner = self.bell.wait_timeout(inner, most).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.rung = false;
    }

    /// Waits until nothing of partitions is out, or the member leaves, at most so long. Nothing more of them is handed out.
    pub(super) fn wait_for(&self, partitions: &BTreeSet<Partition>, most: Duration) {
        let until = Instant::now() + most;
        let mut inner = self.lock();
        inner.state.hold(partitions);
        while inner.state.is_busy(partitions) && !inner.closing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(?most, "messages of a partition that goes are still being handled; others get them too");
                return;
            }
            inner = self.bell.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Messages came.
    pub(super) fn arrived(&self) {
        self.arrived.notify_waiters();
    }

    /// Something is wrong that `receive` has to say.
    pub(super) fn fail(&self, error: BrokerError) {
        self.lock().failure = Some(error);
        self.arrived();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.ring();
    }

    fn settle(&self, settled: &[(Receipt, Settlement)]) {
        let mut inner = self.lock();
        for (receipt, how) in settled {
            inner.state.settle(*receipt, *how);
        }
        inner.rung = true;
        drop(inner);
        self.bell.notify_all();
        if settled.iter().any(|(_, how)| *how == Settlement::Return) {
            self.arrived();
        }
    }

    pub(super) async fn receive(&self, max: usize) -> Result<Vec<Incoming>, BrokerError> {
        loop {
            // Made before the state is looked at, so that what happens in between is not missed.
            let arrived = self.arrived.notified();
            {
                let mut inner = self.lock();
                if let Some(failure) = inner.failure.take() {
                    return Err(failure);
                }
                let incoming = inner.state.take(max);
                if !incoming.is_empty() {
                    // There is room for more.
                    inner.rung = true;
                    drop(inner);
                    self.bell.notify_all();
                    return Ok(incoming);
                }
            }
            arrived.await;
        }
    }
}

/// A member of a group. Dropped, it leaves.
pub(super) struct KafkaConsumer {
    desk: Arc<Desk>,
    /// Whether the thread has ended; closed where it never began.
    left: watch::Receiver<bool>,
    /// Sees to the topics while the broker is down.
    waiting: Option<AbortHandle>,
}

impl KafkaConsumer {
    /// Joins a group. Where the broker cannot be reached that goes on behind the scenes.
    pub(super) async fn join(shared: &Arc<Shared>, subscription: Subscription) -> Result<Self, BrokerError> {
        let desk = Arc::new(Desk::new(subscription.prefetch));
        let (leave, left) = watch::channel(false);
        let join = Join { shared: Arc::clone(shared), desk: Arc::clone(&desk), subscription, leave };
        let waiting = match join.see_to_topics().await {
            Ok(()) => {
                join.start()?;
                None
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, group = join.subscription.group, "Kafka cannot be reached; it is asked again");
                Some(tokio::spawn(join.when_it_answers()).abort_handle())
            }
            Err(error) => return Err(error),
        };
        Ok(Self { desk, left, waiting })
    }

    fn leave(&self) {
        if let Some(waiting) = &self.waiting {
            waiting.abort();
        }
        self.desk.close();
    }
}

/// A member that has not joined yet.
struct Join {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    subscription: Subscription,
    leave: watch::Sender<bool>,
}

impl Join {
    async fn see_to_topics(&self) -> Result<(), BrokerError> {
        if self.shared.is_closed() {
            return Err(closed());
        }
        let topics: Vec<_> = self.subscription.topics.iter().map(String::as_str).collect();
        self.shared.topics.see_to(&topics).await
    }

    fn start(self) -> Result<(), BrokerError> {
        poller::start(&self.shared.config, &self.subscription, self.desk, self.leave)
    }

    async fn when_it_answers(self) {
        let mut failed = 0_u32;
        loop {
            failed = failed.saturating_add(1);
            tokio::time::sleep(RetryPolicy::OUTAGE.pause(failed, random())).await;
            match self.see_to_topics().await {
                Ok(()) => break,
                Err(error) if error.is_retryable() => {}
                // Said each time that it is found: somebody may mend it.
                Err(error) => self.desk.fail(error),
            }
        }
        let desk = Arc::clone(&self.desk);
        if let Err(error) = self.start() {
            desk.fail(error);
        }
    }
}

impl Consumer for KafkaConsumer {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Incoming>, BrokerError>> {
        Box::pin(self.desk.receive(max))
    }

    fn settle(&mut self, settled: Vec<(Receipt, Settlement)>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.desk.settle(&settled);
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.leave();
            let mut left = self.left.clone();
            drop(self);
            if tokio::time::timeout(LEAVING, left.wait_for(|left| *left)).await.is_err() {
                tracing::warn!("Kafka does not answer; the group is left behind the scenes");
            }
        })
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for KafkaConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConsumer").field("state", &self.desk.lock().state).finish_non_exhaustive()
    }
}
