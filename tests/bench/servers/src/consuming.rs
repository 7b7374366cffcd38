//! A consumer of Kafka by hand, which marks what it has handled in a table of the inbox's own schema.

use std::time::Duration;

use cqrs::sqlx::{self, PgConnection, PgPool};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::Result;

/// The body of a message, as it comes off the wire.
#[derive(Debug, Deserialize)]
pub struct Body<T> {
    /// What it says.
    pub payload: T,
    /// Of the event.
    pub event_id: Uuid,
}

/// Messages of one transaction, and how far the group is when it has committed.
#[derive(Debug)]
pub struct Batch<T> {
    /// In order.
    pub bodies: Vec<Body<T>>,
    offsets: TopicPartitionList,
}

/// A member of a group that consumes one topic.
pub struct ByHand {
    consumer: BaseConsumer,
    topic: &'static str,
}

const MARK: &str = "
INSERT INTO marks (consumer_group, handler, event_id, handled_at)
SELECT 'by_hand', 'by_hand', id, 0 FROM unnest($1::uuid[]) AS new (id)
ON CONFLICT DO NOTHING RETURNING event_id";

impl std::fmt::Debug for ByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByHand").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl ByHand {
    /// Joins.
    ///
    /// # Errors
    /// Fails where a property is wrong.
    pub fn new(servers: &str, group: &str, topic: &'static str) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create()?;
        consumer.subscribe(&[topic])?;
        Ok(Self { consumer, topic })
    }

    /// As many messages as there are, at least one and at most so many.
    ///
    /// # Errors
    /// Fails where one cannot be read.
    pub async fn receive<T: DeserializeOwned>(&self, most: usize) -> Result<Batch<T>> {
        let (mut bodies, mut offsets) = (Vec::new(), TopicPartitionList::new());
        while bodies.len() < most {
            let Some(message) = self.consumer.poll(Duration::ZERO) else {
                if bodies.is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
                break;
            };
            let message = message?;
            bodies.push(serde_json::from_slice::<Body<T>>(message.payload().unwrap_or_default())?);
            let (partition, next) = (message.partition(), Offset::Offset(message.offset() + 1));
            match offsets.find_partition(self.topic, partition) {
                Some(_) => offsets.set_partition_offset(self.topic, partition, next)?,
                None => offsets.add_partition_offset(self.topic, partition, next)?,
            }
        }
        Ok(Batch { bodies, offsets })
    }

    /// Says how far the group is.
    ///
    /// # Errors
    /// Fails where it cannot be said.
    pub fn commit<T>(&self, batch: &Batch<T>) -> Result<()> {
        Ok(self.consumer.commit(&batch.offsets, CommitMode::Async)?)
    }
}

impl<T> Batch<T> {
    /// Marks them as handled, and leaves out what was marked before.
    ///
    /// # Errors
    /// Fails with what the database said.
    pub async fn mark(&mut self, tx: &mut PgConnection) -> Result<()> {
        let ids: Vec<Uuid> = self.bodies.iter().map(|body| body.event_id).collect();
        let new: Vec<Uuid> = sqlx::query_scalar(MARK).bind(&ids).fetch_all(tx).await?;
        self.bodies.retain(|body| new.contains(&body.event_id));
        Ok(())
    }
}

/// The table of the marks.
///
/// # Errors
/// Fails with what the database said.
pub async fn marks(pool: &PgPool) -> Result<()> {
    sqlx::query("CREATE TABLE marks (LIKE cqrs_inbox INCLUDING ALL)").execute(pool).await?;
    Ok(())
}
