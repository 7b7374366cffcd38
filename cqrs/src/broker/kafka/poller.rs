//! The thread of a consumer: it alone talks to the broker.
//!
//! Each partition has a queue of its own, which is read only while there is room. So a busy app lets messages lie where they
//! are, while the main queue is read all the time: that keeps the member in its group, however long a handler takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::time::Instant;

use super::config::Config;
use super::consumer::Desk;
use super::error::{explain, kind_of, unavailable};
use super::log::Voice;
use super::state::Partition;
use crate::broker::driver::Subscription;
use crate::broker::options::Declare;
use crate::broker::{BrokerError, BrokerErrorKind, Delivery};
use crate::dispatch::caught;
use crate::supervise::Failures;

/// How long the thread sleeps when nobody wakes it.
const TICK: Duration = Duration::from_millis(50);
/// How often offsets are committed. What was settled since and is delivered again after a crash the inbox catches.
const COMMITS: Duration = Duration::from_millis(100);
/// How long a partition that goes to another member waits for its messages that are being handled.
const REVOKING: Duration = Duration::from_secs(5);
/// How many events, and how many messages of a partition, are read in one go.
const BURST: usize = 64;

type Client = BaseConsumer<Context>;
type Queues = BTreeMap<Partition, PartitionQueue<Context>>;

/// What the consumer calls back, on the thread that polls it.
struct Context {
    desk: Arc<Desk>,
    voice: Voice,
    client: OnceLock<Weak<Client>>,
    queues: Mutex<Queues>,
}

impl Context {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads partitions from queues of their own, before anything of them is fetched.
    fn assign(&self, list: &TopicPartitionList) {
        let Some(client) = self.client.get().and_then(Weak::upgrade) else { return };
        for partition in partitions(list) {
            let Some(mut queue) = client.split_partition_queue(&partition.0, partition.1) else { continue };
            let desk = Arc::clone(&self.desk);
            queue.set_nonempty_callback(move || desk.ring());
            self.desk.with(|state| state.assign(partition.clone()));
            self.queues().insert(partition, queue);
        }
    }

    /// Lets partitions go: what is being handled is waited for, and what is settled committed, while they are still ours.
    fn revoke(&self, client: &Client, list: &TopicPartitionList) {
        let going = partitions(list);
        if !client.assignment_lost() {
            self.desk.wait_for(&going, REVOKING);
            commit(client, &self.desk, CommitMode::Sync);
        }
        self.desk.with(|state| state.revoke(&going));
        self.queues().retain(|partition, _| !going.contains(partition));
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.voice.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, client: &Client, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => self.assign(list),
            Rebalance::Revoke(list) => self.revoke(client, list),
            Rebalance::Error(error) => tracing::warn!(%error, "a rebalance of the consumer group failed"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let Err(error) = result else { return };
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset) {
            return;
        }
        self.voice.log(RDKafkaLogLevel::Warning, "COMMIT", &error.to_string());
        self.desk.with(|state| partitions(offsets).iter().for_each(|partition| state.not_committed(partition)));
    }
}

fn partitions(list: &TopicPartitionList) -> BTreeSet<Partition> {
    list.elements().iter().map(|element| (Arc::from(element.topic()), element.partition())).collect()
}

/// Commits how far each partition is settled.
fn commit(client: &Client, desk: &Desk, mode: CommitMode) {
    let due = desk.with(super::state::State::take_commits);
    let mut list = TopicPartitionList::with_capacity(due.len());
    for ((topic, partition), offset) in &due {
        // An offset that was fetched can be committed; the library does not know.
        let _ = list.add_partition_offset(topic, *partition, Offset::Offset(*offset));
    }
    if list.count() == 0 {
        return;
    }
    if let Err(error) = client.commit(&list, mode) {
        client.context().commit_callback(Err(error), &list);
    }
}

/// Makes a member and starts its thread, which says when it has left the group.
pub(super) fn start(
    config: &Config,
    subscription: &Subscription,
    desk: Arc<Desk>,
    leave: watch::Sender<bool>,
) -> Result<(), BrokerError> {
    let context =
        Context { desk: Arc::clone(&desk), voice: Voice::default(), client: OnceLock::new(), queues: Mutex::default() };
    let mut client: Client = config
        .consumer(&subscription.group)
        .create_with_context(context)
        .map_err(|error| explain("the consumer cannot be made", error))?;
    let bell = Arc::clone(&desk);
    client.set_nonempty_callback(move || bell.ring());
    let client = Arc::new(client);
    let _ = client.context().client.set(Arc::downgrade(&client));
    let topics: Vec<_> = subscription.topics.iter().map(String::as_str).collect();
    client.subscribe(&topics).map_err(|error| explain("the topics cannot be subscribed to", error))?;
    let makes_topics = config.declare == Declare::Create;
    let mut poller = Poller { client, desk, makes_topics, committed: Instant::now(), turn: 0 };
    let thread = std::thread::Builder::new().name("cqrs-kafka-consumer".to_owned()).spawn(move || {
        let desk = Arc::clone(&poller.desk);
        let left = Left { desk: Arc::clone(&desk), leave };
        supervised(&desk, || poller.run(), |pause| rest(&desk, pause));
        // It may be the last that holds the client, which leaves the group when it is dropped.
        drop(poller);
        drop(left);
    });
    thread.map(drop).map_err(|error| unavailable("no thread for the consumer").with_source(error))
}

struct Poller {
    client: Arc<Client>,
    desk: Arc<Desk>,
    makes_topics: bool,
    committed: Instant,
    /// Which partition is read first.
    turn: usize,
}

/// Dropped with the thread, however that ended: who waits for it is told, and who would wait for messages of it.
struct Left {
    desk: Arc<Desk>,
    leave: watch::Sender<bool>,
}

impl Drop for Left {
    fn drop(&mut self) {
        if !self.desk.is_closing() {
            self.desk.fail(unavailable("the thread of the consumer has ended"));
        }
        self.leave.send_replace(true);
    }
}

/// Runs a member until it leaves. A panic is said, to whoever receives too, and the thread goes on after a pause.
fn supervised(desk: &Desk, mut run: impl FnMut(), rest: impl Fn(Duration)) {
    let mut failures = Failures::default();
    loop {
        let since = Instant::now();
        let Err(panic) = caught(&mut run) else { return };
        let pause = failures.pause(since.elapsed());
        tracing::error!(panic, ?pause, "the thread of a Kafka consumer panicked; it goes on");
        desk.fail(unavailable(format!("the thread of the consumer panicked: {panic}")));
        rest(pause);
    }
}

/// Lets time pass, until the member leaves.
fn rest(desk: &Desk, pause: Duration) {
    let until = Instant::now() + pause;
    while !desk.is_closing() && Instant::now() < until {
        std::thread::sleep(TICK);
    }
}

impl Poller {
    fn run(&mut self) {
        while !self.desk.is_closing() {
            self.serve();
            let moved = self.fetch();
            if self.committed.elapsed() >= COMMITS {
                commit(&self.client, &self.desk, CommitMode::Async);
                self.committed = Instant::now();
            }
            if moved == 0 {
                self.desk.wait(TICK);
            }
        }
        commit(&self.client, &self.desk, CommitMode::Sync);
        // They hold the client, which leaves the group when it is dropped.
        let queues = std::mem::take(&mut *self.client.context().queues());
        drop(queues);
    }

    /// Reads events: rebalances, errors, confirmations of commits.
    fn serve(&self) {
        for _ in 0..BURST {
            match self.client.poll(Duration::ZERO) {
                None => return,
                Some(Ok(message)) => self.keep(&message),
                Some(Err(error)) => self.judge(error),
            }
        }
    }

    /// Takes over as many messages as there is room for. Gives how many came.
    fn fetch(&mut self) -> usize {
        let (mut room, mut bytes) = self.desk.with(|state| (state.room(), state.room_in_bytes()));
        let mut moved = 0;
        self.turn = self.turn.wrapping_add(1);
        let queues = self.client.context().queues();
        let count = queues.len();
        // Each partition is the first in its turn, or the first of all would leave no room for the others.
        for (partition, queue) in queues.iter().cycle().skip(self.turn % count.max(1)).take(count) {
            let mut fetched = Vec::new();
            while fetched.len() < room.min(BURST) && bytes > 0 {
                match queue.poll(Duration::ZERO) {
                    None => break,
                    Some(Ok(message)) => {
                        bytes = bytes.saturating_sub(message.payload_len());
                        fetched.push((message.offset(), delivery(&message)));
                    }
                    Some(Err(error)) => {
                        self.judge(error);
                        break;
                    }
                }
            }
            room -= fetched.len();
            moved += fetched.len();
            self.desk.with(|state| {
                for (offset, delivery) in fetched {
                    state.fetched(partition.clone(), offset, delivery);
                }
            });
        }
        if moved > 0 {
            self.desk.arrived();
        }
        moved
    }

    /// A message that came by the main queue: none does, for partitions have queues before they are fetched.
    fn keep(&self, message: &BorrowedMessage<'_>) {
        let partition = (Arc::from(message.topic()), message.partition());
        let delivery = delivery(message);
        self.desk.with(|state| state.fetched(partition, message.offset(), delivery));
        self.desk.arrived();
    }

    fn judge(&self, error: KafkaError) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        // A topic that we made ourselves is there, even where a broker has not heard of it yet.
        let is_made = self.makes_topics && code == RDKafkaErrorCode::UnknownTopicOrPartition;
        if fatal || !is_made && kind_of(code) == BrokerErrorKind::Configuration {
            self.desk.fail(explain("Kafka gives no messages", error));
        } else {
            // The library tries again by itself.
            self.client.context().voice.log(RDKafkaLogLevel::Warning, "CONSUME", &error.to_string());
        }
    }
}

/// A message, copied out of the library's memory. What is not UTF-8 is made so: of our own making it always is.
fn delivery(message: &BorrowedMessage<'_>) -> Delivery {
    let mut delivery = Delivery::new(message.topic(), message.payload().unwrap_or_default());
    delivery.key = message.key().map(|key| String::from_utf8_lossy(key).into_owned());
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        let value = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
        delivery.headers.insert(header.key.to_owned(), value);
    }
    delivery
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::sync::watch;

    use super::{Left, rest, supervised};
    use crate::broker::kafka::consumer::Desk;

    /// Runs so often, in which each run but the last panics, after the time that is given for it. Gives the pauses.
    fn pauses(desk: &Desk, ran: &[Duration]) -> Vec<Duration> {
        let (pauses, mut runs) = (std::sync::Mutex::new(Vec::new()), ran.iter());
        let run = || {
            let Some(ran) = runs.next() else { return };
            // Polled once it has moved the clock.
            let _ = tokio::time::advance(*ran).now_or_never();
            panic!("told to");
        };
        supervised(desk, run, |pause| pauses.lock().unwrap().push(pause));
        pauses.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_said_to_who_receives_and_the_thread_goes_on_ever_later() {
        let desk = Desk::new(1);
        let pauses = pauses(&desk, &[Duration::ZERO; 4]);
        let said = desk.receive(1).await.unwrap_err();
        assert!(said.is_retryable() && said.to_string().contains("panicked: told to"), "{said}");
        assert_eq!(pauses.len(), 4);
        for (pause, whole) in pauses.iter().zip([100, 200, 400, 800].map(Duration::from_millis)) {
            assert!(whole / 2 <= *pause && *pause <= whole, "{pauses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_was_sound_for_a_while_pauses_as_at_first() {
        let minute = Duration::from_mins(1);
        let pauses = pauses(&Desk::new(1), &[Duration::ZERO, Duration::ZERO, Duration::ZERO, minute]);
        assert!(pauses[2] > Duration::from_millis(100), "{pauses:?}");
        assert!(pauses[3] <= Duration::from_millis(100), "{pauses:?}");
    }

    #[test]
    fn a_member_that_leaves_waits_for_no_pause() {
        let desk = Desk::new(1);
        desk.close();
        rest(&desk, Duration::from_hours(1));
    }

    #[tokio::test]
    async fn whoever_waits_is_told_that_the_thread_has_ended() {
        let (desk, (leave, left)) = (Arc::new(Desk::new(1)), watch::channel(false));
        let thread = std::thread::spawn({
            let left = Left { desk: Arc::clone(&desk), leave };
            move || {
                let _left = left;
                panic!("told to");
            }
        });
        let said = desk.receive(1).await.unwrap_err();
        assert!(said.is_retryable() && said.to_string().contains("has ended"), "{said}");
        assert!(thread.join().is_err());
        assert!(*left.borrow());
    }

    #[tokio::test]
    async fn the_end_of_a_thread_whose_member_leaves_is_no_failure() {
        let (desk, (leave, left)) = (Arc::new(Desk::new(1)), watch::channel(false));
        desk.close();
        drop(Left { desk: Arc::clone(&desk), leave });
        assert!(*left.borrow());
        assert!(desk.receive(1).now_or_never().is_none());
    }
}
