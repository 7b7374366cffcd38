//! Kafka without the framework.

use std::fmt;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::FutureProducer;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::{Result, server};

/// How long an answer may take.
pub const WITHIN: Duration = Duration::from_secs(30);

/// The hosts and ports of the server.
///
/// # Errors
/// Fails with how to start one, where the environment names none.
pub fn servers() -> Result<String> {
    Ok(server("KAFKA")?.trim_start_matches("kafka://").to_owned())
}

/// Makes topics. One that is there already has as many partitions, and what is in it has been consumed.
///
/// # Errors
/// Fails where the server does not answer.
pub async fn topics<const N: usize>(servers: &str, names: [&str; N], partitions: i32) -> Result<()> {
    let new = names.map(|topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(1)));
    admin(servers)?.create_topics(&new, &AdminOptions::new().operation_timeout(Some(WITHIN))).await?;
    Ok(())
}

fn admin(servers: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new().set("bootstrap.servers", servers).create()?)
}

/// A producer that publishes in order and each message once, as the framework's.
///
/// # Errors
/// Fails where a property is wrong.
pub fn producer(servers: &str, linger: &str) -> Result<FutureProducer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", linger)
        .set("queue.buffering.max.messages", "1000000")
        .create()?)
}

/// How much has been published to a topic.
pub struct Ends {
    topic: &'static str,
    partitions: i32,
    client: BaseConsumer,
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Ends {
    /// Of a topic that is there.
    ///
    /// # Errors
    /// Fails where the server does not answer.
    pub fn of(servers: &str, topic: &'static str) -> Result<Self> {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", servers).create()?;
        let found = client.fetch_metadata(Some(topic), WITHIN)?;
        let partitions = found.topics().first().map_or(0, |topic| topic.partitions().len());
        Ok(Self { topic, partitions: i32::try_from(partitions)?, client })
    }

    /// How many messages there have ever been. Blocks.
    ///
    /// # Errors
    /// Fails where the server does not answer.
    pub fn count(&self) -> Result<i64> {
        let mut count = 0;
        for partition in 0..self.partitions {
            count += self.client.fetch_watermarks(self.topic, partition, WITHIN)?.1;
        }
        Ok(count)
    }

    /// Deletes what has been published: nobody consumes it.
    ///
    /// # Errors
    /// Fails where the server does not answer.
    pub async fn forget(&self, servers: &str) -> Result<()> {
        let mut ends = TopicPartitionList::new();
        for partition in 0..self.partitions {
            ends.add_partition_offset(self.topic, partition, Offset::End)?;
        }
        admin(servers)?.delete_records(&ends, &AdminOptions::new().operation_timeout(Some(WITHIN))).await?;
        Ok(())
    }
}
