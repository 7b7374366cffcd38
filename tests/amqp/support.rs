//! What the modules share: names nobody else has, drivers, messages, and a plain client beside ours.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cqrs::broker::driver::{Consumer, Driver, Outgoing, Settlement, Subscription};
use cqrs::broker::{BrokerError, BrokerErrorKind};
use cqrs::{Broker, Declare, Delivery};
use lapin::{Channel, Connection, ConnectionProperties};
use uuid::Uuid;

/// Ends a test that hangs.
pub async fn bounded<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(3), test).await.expect("the test hangs")
}

/// A name that nobody else has.
pub fn name(what: &str) -> String {
    format!("cqrs-{what}-{}", Uuid::new_v4().simple())
}

pub fn driver(url: &str) -> Arc<dyn Driver> {
    Broker::url(url).connect().expect("a sound URL")
}

pub fn declaring(url: &str, declare: Declare) -> Arc<dyn Driver> {
    Broker::url(url).declare(declare).connect().expect("a sound URL")
}

pub fn outgoing(topic: &str, key: &str, text: &str) -> Outgoing {
    Outgoing { id: Uuid::now_v7(), delivery: Delivery::new(topic, text).key(key) }
}

pub async fn subscribe(driver: &Arc<dyn Driver>, group: &str, topic: &str) -> Result<Box<dyn Consumer>, BrokerError> {
    driver.subscribe(Subscription { group: group.into(), topics: vec![topic.into()], prefetch: 16 }).await
}

/// Receives so many messages, settles each as done, and gives their texts.
pub async fn take(consumer: &mut dyn Consumer, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        for incoming in consumer.receive(count - texts.len()).await.expect("the broker gives messages") {
            texts.push(String::from_utf8(incoming.delivery.payload().to_vec()).expect("text"));
            consumer.settle(vec![(incoming.receipt, Settlement::Done)]).await.expect("the broker can be told");
        }
    }
    texts
}

/// Publishes one message until it is confirmed.
pub async fn publish_surely(driver: &Arc<dyn Driver>, outgoing: Outgoing) {
    while let Err(error) = publish(driver, outgoing.clone()).await {
        assert_eq!(error.kind(), BrokerErrorKind::Unavailable, "{error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn publish(driver: &Arc<dyn Driver>, outgoing: Outgoing) -> Result<(), BrokerError> {
    driver.publish(vec![outgoing]).await.pop().expect("one result")
}

/// A client that is not ours.
pub async fn plain(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the server answers");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

/// An error with what caused it.
pub fn whole(error: &BrokerError) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
