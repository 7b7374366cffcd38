//! How the members of a group share the queues of a topic.
//!
//! The server gives the messages of a queue to the consumer that came first, and so all queues to the first member. Each
//! member therefore asks now and then how many there are, and gives up what is more than its share. Nobody has to agree
//! with anybody: whoever is wrong about it for a moment has less or more to do, and order is kept by the server.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::member::Member;
use super::topology::{explain, short};

/// How often a member asks.
const PERIOD: Duration = Duration::from_secs(2);

/// Shares a topic until the token is cancelled.
pub(super) async fn run(member: Arc<Member>, topic: usize, stop: CancellationToken) {
    let sharing = async {
        loop {
            let Err(fault) = share(&member, topic).await else { continue };
            // The slots' tasks say what is wrong with the server.
            tracing::debug!(error = fault.line(), "queues are not shared just now");
            tokio::time::sleep(PERIOD).await;
        }
    };
    let _ = stop.run_until_cancelled(sharing).await;
}

/// Is counted among the members, and counts them, until the connection fails.
async fn share(member: &Member, topic: usize) -> Result<(), Fault> {
    let queue = member.names(topic).members();
    let name = short("queue", &queue)?;
    let connected = member.link().get().await?;
    let opened = connected.connection.create_channel().await;
    let channel = opened.map_err(|error| Fault::of("no channel can be opened", error))?;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let present = channel.basic_consume(name.clone(), "".into(), options, FieldTable::default()).await;
    let _present = present.map_err(|error| explain("queue", &queue, error))?;
    loop {
        tokio::time::sleep(PERIOD).await;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let counted = channel.queue_declare(name.clone(), passive, FieldTable::default()).await;
        member.share(topic, counted.map_err(|error| explain("queue", &queue, error))?.consumer_count());
    }
}
