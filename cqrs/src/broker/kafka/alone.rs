//! A second producer, for messages that are sent alone: one for all calls, one message at a time, and only for as long as somebody needs it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::Mutex;

use super::Shared;
use super::producer::{Answer, Producer};
use super::publish::code_of;
use crate::broker::driver::Outgoing;

/// For how long a clock that is ahead of the broker's is taken to be so without asking again.
const EARLY: Duration = Duration::from_secs(1);

/// What is sent alone, and by what.
#[derive(Default)]
pub(super) struct Alone {
    inner: Mutex<Inner>,
    /// How many calls have something to send.
    calls: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    producer: Option<Producer>,
    /// When the broker last found a message to be of the future.
    early: Option<Instant>,
}

impl Inner {
    fn retire(&mut self) {
        if let Some(producer) = self.producer.take() {
            producer.retire();
        }
    }
}

impl Alone {
    /// Keeps the producer for a call, however that ends.
    pub(super) fn turn(&self) -> Turn<'_> {
        self.calls.fetch_add(1, Ordering::AcqRel);
        Turn(self)
    }

    /// Waits for what is being sent, and sends no more.
    pub(super) async fn close(&self) {
        self.inner.lock().await.retire();
    }
}

/// A call that has something to send.
pub(super) struct Turn<'a>(&'a Alone);

impl Turn<'_> {
    /// Sends a message while nobody else sends one.
    pub(super) async fn send(&self, shared: &Shared, outgoing: &Outgoing) -> Option<Answer> {
        let mut inner = self.0.inner.lock().await;
        if shared.is_closed() {
            return None;
        }
        if inner.early.is_some_and(|early| early.elapsed() < EARLY) {
            return Some(Err(KafkaError::MessageProduction(Code::InvalidTimestamp)));
        }
        if inner.producer.as_ref().is_none_or(Producer::is_retired) {
            inner.retire();
            inner.producer = Some(made(shared).await?);
        }
        let answer = inner.producer.as_ref()?.send(std::slice::from_ref(outgoing)).await.pop().flatten();
        if code_of(answer.as_ref()) == Some(Code::InvalidTimestamp) {
            inner.early = Some(Instant::now());
        }
        answer
    }
}

/// Makes a producer, which takes the library its time.
async fn made(shared: &Shared) -> Option<Producer> {
    let config = shared.config.clone();
    let made = tokio::task::spawn_blocking(move || Producer::new(&config)).await.ok()?;
    made.inspect_err(|error| tracing::warn!(%error, "no second producer for messages that Kafka refuses together")).ok()
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.0.calls.fetch_sub(1, Ordering::AcqRel) == 1
            && let Ok(mut inner) = self.0.inner.try_lock()
        {
            inner.retire();
        }
    }
}
