//! Reading one slot: a consumer of the server that nobody else uses, and that is forgotten with its reader.
//!
//! The server keeps no account of what was read: the member does. So what is lost on the way has to be noticed here: by
//! the numbers that the server counts, by its silence, and whenever the connection was made anew. The slot is then read
//! again, from behind what came.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{self, BatchConfig};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::{self, Context};
use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::headers;
use super::link::Link;
use super::name;
use super::shared::Shared;
use super::stored;
use super::table::SlotId;
use crate::broker::Delivery;
use crate::retry::{RetryPolicy, random};

/// How often the server says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long it may say nothing.
const SILENCE: Duration = Duration::from_secs(3);
/// How long a request for messages stands.
const EXPIRES: Duration = Duration::from_secs(30);
/// How long the server keeps a consumer that nobody asks.
const INACTIVE: Duration = Duration::from_mins(1);

/// Reads a slot until it is the member's no more, or its stream is another than the one that was made at that moment:
/// then the slot is given back to be taken anew.
pub(super) async fn read(link: Arc<Link>, shared: Arc<Shared>, id: SlotId, made: i64) {
    let mut connections = link.connections();
    let (mut failures, mut is_anew) = (0_u32, false);
    while let Some(last) = shared.last_read(&id) {
        // What comes next may be why the connection has ended.
        if is_anew && let Err(error) = stored::read(&link, &shared, &id, made).await {
            let (topic, slot) = &id;
            tracing::warn!(topic, slot, %error, "a stored message cannot be asked for by itself; it comes as the others do");
        }
        let ended = Reading::begin(&link, &shared, &id, made, &mut connections).await;
        is_anew = ended.is_ok() || connections.has_changed().unwrap_or(false);
        let Err(error) = ended else {
            failures = 0;
            continue;
        };
        failures = if shared.last_read(&id).is_some_and(|now| now > last) { 1 } else { failures.saturating_add(1) };
        let (topic, slot) = &id;
        tracing::debug!(topic, slot, %error, "a slot is read anew");
        sleep(RetryPolicy::OUTAGE.pause(failures, random())).await;
    }
}

/// One consumer of the server, and what is read with it.
struct Reading<'a> {
    shared: &'a Shared,
    id: &'a SlotId,
    context: &'a Context,
    consumer: Consumer<pull::Config>,
    inbox: Subject,
    subscriber: Subscriber,
    /// How many messages the server's consumer has given.
    count: u64,
}

impl<'a> Reading<'a> {
    /// Reads on behind a sequence number, until the slot is lost, the connection is made anew, or something fails.
    async fn begin(
        link: &'a Link,
        shared: &'a Shared,
        id: &'a SlotId,
        made: i64,
        connections: &mut watch::Receiver<u64>,
    ) -> Result<(), crate::BoxError> {
        let context = link.context().await?;
        connections.mark_unchanged();
        let (topic, slot) = id;
        let (name, stream) = link.stream(topic).await?;
        if stream.made != made {
            shared.lose(id);
            return Ok(());
        }
        let Some(last) = shared.last_read(id) else { return Ok(()) };
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: last + 1 },
            ack_policy: AckPolicy::None,
            filter_subject: name::subject(topic, *slot),
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = context.create_consumer_on_stream(config, name).await.inspect_err(|_| link.forget(topic))?;
        let inbox = Subject::from(context.client().new_inbox());
        let subscriber = context.client().subscribe(inbox.clone()).await?;
        let mut reading = Self { shared, id, context, consumer, inbox, subscriber, count: 0 };
        tokio::select! {
            // What has come is taken first.
            biased;
            ended = reading.run() => ended,
            _ = connections.changed() => Ok(()),
        }
    }

    async fn run(&mut self) -> Result<(), crate::BoxError> {
        while let Some(room) = self.shared.room(self.id).await {
            let request = BatchConfig {
                batch: room,
                expires: Some(EXPIRES),
                idle_heartbeat: HEARTBEAT,
                ..BatchConfig::default()
            };
            self.consumer.request_batch(request, self.inbox.clone()).await?;
            if !self.batch(room).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads what was asked for; whether the slot is still the member's.
    async fn batch(&mut self, count: usize) -> Result<bool, crate::BoxError> {
        let mut left = count;
        while left > 0 {
            let next = timeout(SILENCE, self.subscriber.next()).await.map_err(|_| "the server says nothing")?;
            let message = next.ok_or("the subscription has ended")?;
            // Whoever publishes may say a status, too; the server's own word is nothing that could be acknowledged.
            let status = if message.reply.is_some() { None } else { message.status };
            match status {
                None => {
                    left -= 1;
                    if !self.take(message)? {
                        return Ok(false);
                    }
                }
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => break,
                Some(status) => return Err(format!("{status}: {}", message.description.unwrap_or_default()).into()),
            }
        }
        Ok(true)
    }

    /// Takes a message; whether the slot is still the member's.
    fn take(&mut self, message: Message) -> Result<bool, crate::BoxError> {
        let message = jetstream::Message { message, context: self.context.clone() };
        let info = message.info()?;
        self.count += 1;
        if info.consumer_sequence != self.count {
            return Err(
                format!("message {} of the consumer came as number {}", info.consumer_sequence, self.count).into()
            );
        }
        let sequence = info.stream_sequence;
        Ok(self.shared.offer(self.id, sequence, delivery(&self.id.0, message.message)))
    }
}

fn delivery(topic: &str, message: Message) -> Delivery {
    let (headers, key) = headers::read(message.headers.as_ref());
    Delivery { topic: topic.to_owned(), key, headers, payload: message.payload.into() }
}
