//! The task that publishes, where it ends before it is told to: on the server that `CQRS_TEST_AMQP_URL` names.

use std::time::Duration;

use lapin::options::ExchangeDeleteOptions;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use super::{AmqpBroker, MANDATORY, Publisher};
use crate::broker::driver::{Driver as _, Outgoing};
use crate::broker::options::BrokerOptions;
use crate::broker::{BrokerErrorKind, Delivery};

fn broker() -> AmqpBroker {
    let url = std::env::var("CQRS_TEST_AMQP_URL").unwrap_or_else(|_| {
        panic!("`CQRS_TEST_AMQP_URL` names no RabbitMQ for tests: start one with `tests/services up amqp`, and load what `tests/services env` prints")
    });
    // Nobody takes what is published here.
    let properties = vec![(MANDATORY.to_owned(), "false".to_owned())];
    AmqpBroker::new(&url, &BrokerOptions { properties, ..BrokerOptions::default() }).unwrap()
}

/// How publishing one message ended: `None` where it was published.
async fn publish(broker: &AmqpBroker, topic: &str) -> Option<BrokerErrorKind> {
    let outgoing = Outgoing { id: Uuid::now_v7(), delivery: Delivery::new(topic, "{}").key("k") };
    let results = timeout(Duration::from_mins(1), broker.publish(vec![outgoing])).await.unwrap();
    assert_eq!(results.len(), 1);
    results.into_iter().next().unwrap().err().map(|error| error.kind())
}

async fn close(broker: AmqpBroker, topic: &str) {
    let connected = broker.publishing.get().await.unwrap();
    let channel = connected.connection.create_channel().await.unwrap();
    channel.exchange_delete(topic.into(), ExchangeDeleteOptions::default()).await.unwrap();
    broker.close().await;
}

#[tokio::test]
async fn a_task_that_was_ended_is_started_anew() {
    let (broker, topic) = (broker(), format!("anew.{}", Uuid::new_v4().simple()));
    assert_eq!(publish(&broker, &topic).await, None);
    let asked = {
        let publisher = broker.publisher.lock().unwrap();
        let publisher = publisher.as_ref().unwrap();
        publisher.task.as_ref().unwrap().abort();
        publisher.requests.clone()
    };
    timeout(Duration::from_mins(1), asked.closed()).await.unwrap();
    assert_eq!(publish(&broker, &topic).await, None);
    assert_eq!(publish(&broker, &topic).await, None);
    close(broker, &topic).await;
}

/// Whoever it was asked by is told, so that the message is published again.
#[tokio::test]
async fn a_task_that_panicked_is_started_anew() {
    let (broker, topic) = (broker(), format!("anew.{}", Uuid::new_v4().simple()));
    let (requests, mut asked) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let _request = asked.recv().await;
        panic!("told to");
    });
    *broker.publisher.lock().unwrap() = Some(Publisher { requests: requests.clone(), task: Some(task) });
    assert_eq!(publish(&broker, &topic).await, Some(BrokerErrorKind::Closed));
    timeout(Duration::from_mins(1), requests.closed()).await.unwrap();
    assert_eq!(publish(&broker, &topic).await, None);
    close(broker, &topic).await;
}
