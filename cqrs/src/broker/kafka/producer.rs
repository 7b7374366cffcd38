//! Publishing: the whole batch is handed to the producer before the first confirmation is waited for.
//!
//! The C library is told to keep trying for longer than we wait: it is our own clock that gives a batch up, and then the
//! producer is replaced and everything it still holds fails with it. Messages that time out one by one would let a later
//! one of a key pass an earlier one.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::Notify;

use super::config::Config;
use super::error::{explain, unavailable};
use super::log::Voice;
use crate::broker::driver::Outgoing;
use crate::broker::{BrokerError, Delivery};

/// How long the thread that serves confirmations looks for the next.
const STEP: Duration = Duration::from_millis(100);
/// How many messages are handed over before other tasks get a turn.
const TURN: usize = 256;

/// What is known of a message that was handed over.
pub(super) type Answer = Result<(), KafkaError>;

/// The messages of one call that are handed over and not answered.
#[derive(Debug)]
struct Call {
    answers: Mutex<Vec<Option<Answer>>>,
    left: AtomicUsize,
    done: Notify,
}

/// Says which message of which call an answer is for.
pub(super) struct Ticket {
    call: Arc<Call>,
    place: usize,
}

impl Call {
    fn new(count: usize) -> Arc<Self> {
        let answers = Mutex::new((0..count).map(|_| None).collect());
        Arc::new(Self { answers, left: AtomicUsize::new(0), done: Notify::new() })
    }

    fn answer(&self, place: usize, answer: Answer) {
        if let Some(slot) = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place) {
            *slot = Some(answer);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    fn left(&self) -> usize {
        self.left.load(Ordering::Acquire)
    }

    /// Waits until everything handed over is answered. `false` where nothing was for as long as `patience`.
    async fn wait(&self, patience: Duration) -> bool {
        loop {
            let left = self.left();
            if left == 0 {
                return true;
            }
            let waited = tokio::time::timeout(patience, self.done.notified()).await;
            if waited.is_err() && self.left() == left {
                return false;
            }
        }
    }
}

/// What the producer calls back.
#[derive(Debug, Default)]
pub(super) struct Context {
    voice: Voice,
    /// A message was answered, so there may be room for another.
    room: Notify,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.voice.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        ticket.call.answer(ticket.place, result.as_ref().map(drop).map_err(|(error, _)| error.clone()));
        self.room.notify_waiters();
    }
}

type Client = BaseProducer<Context>;

/// A producer and the thread that serves its confirmations.
#[derive(Clone)]
pub(super) struct Producer {
    client: Arc<Client>,
    /// Held while a message is handed over, so that none comes behind those that fail when the producer is retired.
    retired: Arc<RwLock<bool>>,
    patience: Duration,
}

impl Producer {
    pub(super) fn new(config: &Config) -> Result<Self, BrokerError> {
        let made = config.producer().create_with_context(Context::default());
        let client: Arc<Client> = Arc::new(made.map_err(|error| explain("the producer cannot be made", error))?);
        let producer = Self { client, retired: Arc::default(), patience: config.patience };
        let served = producer.clone();
        std::thread::Builder::new()
            .name("cqrs-kafka-producer".to_owned())
            .spawn(move || served.serve())
            .map_err(|error| unavailable("no thread for the producer").with_source(error))?;
        Ok(producer)
    }

    /// Serves confirmations until the producer is retired and nobody else holds it: dropping it takes its time.
    fn serve(self) {
        while !self.is_retired() || Arc::strong_count(&self.client) > 1 {
            self.client.poll(STEP);
        }
    }

    pub(super) fn is_retired(&self) -> bool {
        *self.retired.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the producer no more. What it still holds fails.
    pub(super) fn retire(&self) {
        let mut retired = self.retired.write().unwrap_or_else(PoisonError::into_inner);
        *retired = true;
        self.client.purge(PurgeConfig::default().queue().inflight().non_blocking());
    }

    /// Waits until nothing is in flight, at most so long.
    pub(super) async fn drain(&self) {
        let until = Instant::now() + self.patience;
        while self.client.in_flight_count() > 0 && Instant::now() < until {
            tokio::time::sleep(STEP / 10).await;
        }
    }

    /// Hands over a batch and waits for the answers. A message behind one of its key that could not be handed over is
    /// withheld: it has no answer, and neither has what the broker was silent about.
    pub(super) async fn send(&self, batch: &[Outgoing]) -> Vec<Option<Answer>> {
        let (call, begun) = (Call::new(batch.len()), Instant::now());
        let mut failed = HashSet::new();
        for (place, Outgoing { delivery, .. }) in batch.iter().enumerate() {
            let lane = delivery.message_key().map(|key| (delivery.topic(), key));
            if lane.is_some_and(|lane| failed.contains(&lane)) {
                continue;
            }
            if !self.hand_over(&call, place, delivery).await {
                failed.extend(lane);
            }
            if place % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        let answered = tokio::select! {
            answered = call.wait(self.patience) => answered,
            _turned_away = self.client.context().voice.turned_away(begun) => false,
        };
        if !answered || self.client.client().fatal_error().is_some() {
            self.retire();
            // Purged, every message is answered; what is not by then never will be.
            call.wait(STEP * 20).await;
        }
        std::mem::take(&mut *call.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands a message over, waiting while there is no room. Where that fails the message is answered with why.
    async fn hand_over(&self, call: &Arc<Call>, place: usize, delivery: &Delivery) -> bool {
        call.left.fetch_add(1, Ordering::AcqRel);
        loop {
            let room = self.client.context().room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            let Err(error) = self.try_hand_over(call, place, delivery) else { return true };
            let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !is_full || tokio::time::timeout(self.patience, room).await.is_err() {
                call.answer(place, Err(error));
                return false;
            }
        }
    }

    fn try_hand_over(&self, call: &Arc<Call>, place: usize, delivery: &Delivery) -> Answer {
        let retired = self.retired.read().unwrap_or_else(PoisonError::into_inner);
        if *retired {
            return Err(KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue));
        }
        // To the library a name ends there: it would not come out as it went in.
        if delivery.topic().contains('\0') || delivery.headers().keys().any(|name| name.contains('\0')) {
            return Err(KafkaError::MessageProduction(RDKafkaErrorCode::InvalidArgument));
        }
        let ticket = Box::new(Ticket { call: Arc::clone(call), place });
        let mut record =
            BaseRecord::with_opaque_to(delivery.topic(), ticket).payload(delivery.payload()).headers(headers(delivery));
        record.key = delivery.message_key().map(str::as_bytes);
        self.client.send(record).map_err(|(error, _)| error)
    }

    /// Why nothing was answered.
    pub(super) fn why(&self, since: Instant) -> Option<String> {
        let fatal = self.client.client().fatal_error().map(|(_, reason)| reason);
        fatal.or_else(|| self.client.context().voice.last(since))
    }
}

fn headers(delivery: &Delivery) -> OwnedHeaders {
    let all = delivery.headers();
    all.iter().fold(OwnedHeaders::new_with_capacity(all.len()), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}
