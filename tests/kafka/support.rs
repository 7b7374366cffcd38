//! What the tests have in common.

use std::sync::Arc;
use std::time::Duration;

use cqrs::broker::BrokerErrorKind;
use cqrs::broker::driver::{Consumer, Driver, Incoming, Outgoing, Settlement, Subscription};
use cqrs::{Broker, Delivery};
use uuid::Uuid;

/// How long something that has to happen may take.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub fn random(what: &str) -> String {
    format!("cqrs-{what}-{}", Uuid::new_v4().simple())
}

pub fn driver(url: &str, properties: &[(&str, &str)]) -> Arc<dyn Driver> {
    let broker = Broker::url(url.to_owned());
    let broker = properties.iter().fold(broker, |broker, (name, value)| broker.property(*name, *value));
    broker.connect().expect("a sound URL")
}

pub fn message(topic: &str, key: &str, text: impl Into<String>) -> Outgoing {
    Outgoing { id: Uuid::now_v7(), delivery: Delivery::new(topic, text.into()).key(key) }
}

/// Publishes one message, and says what became of it.
pub async fn publish_one(driver: &dyn Driver, topic: &str, key: &str, text: &str) -> Result<(), BrokerErrorKind> {
    let mut results = bounded(driver.publish(vec![message(topic, key, text)])).await;
    assert_eq!(results.len(), 1);
    results.remove(0).map_err(|error| error.kind())
}

pub async fn join(driver: &dyn Driver, group: &str, topic: &str, prefetch: usize) -> Box<dyn Consumer> {
    let subscription = Subscription { group: group.into(), topics: vec![topic.into()], prefetch };
    bounded(driver.subscribe(subscription)).await.expect("a member")
}

/// Receives so many messages and settles none.
pub async fn receive(consumer: &mut dyn Consumer, count: usize) -> Vec<Incoming> {
    let mut all = Vec::new();
    while all.len() < count {
        match bounded(consumer.receive(count - all.len())).await {
            Ok(incoming) => all.extend(incoming),
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
    all
}

pub async fn done(consumer: &mut dyn Consumer, incoming: &[Incoming]) {
    let settled = incoming.iter().map(|incoming| (incoming.receipt, Settlement::Done)).collect();
    consumer.settle(settled).await.expect("settled");
}

pub fn text(incoming: &Incoming) -> String {
    String::from_utf8(incoming.delivery.payload().to_vec()).expect("text")
}

pub async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("an end in time")
}
