//! Tests on real servers. Those that leave the server alone use the one that `CQRS_TEST_NATS_URL` names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use super::NatsBroker;
use crate::broker::driver::{Consumer, Driver, Outgoing, Settlement, Subscription};
use crate::broker::options::{BrokerOptions, Declare};
use crate::broker::{BrokerError, BrokerErrorKind, Delivery};

#[cfg(feature = "testing")]
mod conformance;
mod faults;
mod foreign;
mod kills;
mod leaving;
mod server;
mod topics;

/// The server of the tests.
fn url() -> String {
    std::env::var("CQRS_TEST_NATS_URL").unwrap_or_else(|_| {
        panic!(
            "`CQRS_TEST_NATS_URL` names no NATS server with JetStream: `tests/services up` starts one, as does `nats-server -js`"
        )
    })
}

fn options(declare: Declare) -> BrokerOptions {
    BrokerOptions { declare, ..BrokerOptions::default() }
}

fn with(name: &str, value: &str) -> BrokerOptions {
    BrokerOptions { properties: vec![(name.into(), value.into())], ..BrokerOptions::default() }
}

fn broker(url: &str, options: BrokerOptions) -> Arc<dyn Driver> {
    Arc::new(NatsBroker::new(url, options).unwrap())
}

/// A name that no other test has.
fn unique(what: &str) -> String {
    format!("cqrs-{what}-{}", Uuid::new_v4().simple())
}

fn message(topic: &str, key: Option<&str>, text: &str) -> Outgoing {
    let mut delivery = Delivery::new(topic, text.as_bytes().to_vec());
    delivery.key = key.map(ToOwned::to_owned);
    Outgoing { id: Uuid::now_v7(), delivery }
}

fn subscription(group: &str, topic: &str, prefetch: usize) -> Subscription {
    Subscription { group: group.into(), topics: vec![topic.into()], prefetch }
}

/// Receives `count` messages, settles each as done, and gives their texts.
async fn take(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let incoming = timeout(Duration::from_secs(30), consumer.receive(count - taken.len())).await;
        let incoming = incoming.unwrap_or_else(|_| panic!("{} of {count} have come: {taken:?}", taken.len())).unwrap();
        consumer.settle(incoming.iter().map(|incoming| (incoming.receipt, Settlement::Done)).collect()).await.unwrap();
        taken.extend(incoming.iter().map(|one| String::from_utf8(one.delivery.payload().to_vec()).unwrap()));
    }
    taken
}

/// Deletes the stream of a topic.
async fn delete(url: &str, topic: &str) {
    let client = async_nats::connect(url).await.unwrap();
    let context = async_nats::jetstream::new(client);
    context.delete_stream(super::name::stream(topic).unwrap()).await.unwrap();
}

fn kinds(results: &[Result<(), BrokerError>]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for result in results {
        let kind = result.as_ref().err().map_or_else(|| "published".to_owned(), |error| format!("{:?}", error.kind()));
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}
