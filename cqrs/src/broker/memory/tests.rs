use std::time::Duration;

use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::MemoryBroker;
use super::state::Limits;
use crate::broker::driver::{Consumer, Driver, Outgoing, Settlement, Subscription};
use crate::broker::{BrokerErrorKind, Delivery};

const MOMENT: Duration = Duration::from_millis(30);

fn message(topic: &str, key: &str, text: &str) -> Outgoing {
    Outgoing { id: Uuid::now_v7(), delivery: Delivery::new(topic, text.as_bytes().to_vec()).key(key) }
}

async fn join(broker: &MemoryBroker, group: &str) -> Box<dyn Consumer> {
    let subscription = Subscription { group: group.into(), topics: vec!["t".into()], prefetch: 10 };
    broker.subscribe(subscription).await.unwrap()
}

async fn take_one(consumer: &mut Box<dyn Consumer>, how: Settlement) -> String {
    let incoming = timeout(Duration::from_secs(5), consumer.receive(1)).await.unwrap().unwrap().remove(0);
    consumer.settle(vec![(incoming.receipt, how)]).await.unwrap();
    String::from_utf8(incoming.delivery.payload().to_vec()).unwrap()
}

#[tokio::test]
async fn publishing_waits_for_every_group() {
    let broker = MemoryBroker::new();
    let (mut one, mut two) = (join(&broker, "one").await, join(&broker, "two").await);
    let publisher = broker.clone();
    let answer = tokio::spawn(async move { publisher.publish(vec![message("t", "a", "1")]).await });
    take_one(&mut one, Settlement::Done).await;
    sleep(MOMENT).await;
    assert!(!answer.is_finished());
    take_one(&mut two, Settlement::Done).await;
    assert!(answer.await.unwrap()[0].is_ok());
}

#[tokio::test]
async fn a_group_without_consumers_is_waited_for() {
    let broker = MemoryBroker::new();
    let mut first = join(&broker, "g").await;
    let publisher = broker.clone();
    let answer =
        tokio::spawn(async move { publisher.publish(vec![message("t", "a", "1"), message("t", "a", "2")]).await });
    assert_eq!(first.receive(10).await.unwrap().len(), 1, "the second one of the key waits");
    drop(first);
    sleep(MOMENT).await;
    assert!(!answer.is_finished());
    let mut second = join(&broker, "g").await;
    assert_eq!(take_one(&mut second, Settlement::Return).await, "1");
    assert_eq!(take_one(&mut second, Settlement::Done).await, "1");
    assert_eq!(take_one(&mut second, Settlement::Done).await, "2");
    assert!(answer.await.unwrap().iter().all(Result::is_ok));
}

#[tokio::test]
async fn receiving_can_be_given_up_without_loss() {
    let broker = MemoryBroker::new();
    let mut consumer = join(&broker, "g").await;
    assert!(timeout(MOMENT, consumer.receive(1)).await.is_err());
    let publisher = broker.clone();
    tokio::spawn(async move { publisher.publish(vec![message("t", "a", "1")]).await });
    assert_eq!(take_one(&mut consumer, Settlement::Done).await, "1");
}

#[tokio::test]
async fn publishing_waits_while_too_much_is_in_flight() {
    let broker = MemoryBroker::with_limits(Limits { messages: 1, bytes: 1000 });
    let mut consumer = join(&broker, "g").await;
    let publisher = broker.clone();
    let answer =
        tokio::spawn(async move { publisher.publish(vec![message("t", "a", "1"), message("t", "b", "2")]).await });
    let held = consumer.receive(10).await.unwrap();
    assert_eq!(held.len(), 1);
    assert!(timeout(MOMENT, consumer.receive(10)).await.is_err(), "the second one has no room yet");
    consumer.settle(vec![(held[0].receipt, Settlement::Done)]).await.unwrap();
    assert_eq!(take_one(&mut consumer, Settlement::Done).await, "2");
    assert!(answer.await.unwrap().iter().all(Result::is_ok));
}

#[tokio::test]
async fn closing_fails_what_waits() {
    let broker = MemoryBroker::with_limits(Limits { messages: 1, bytes: 1000 });
    let mut consumer = join(&broker, "g").await;
    let publisher = broker.clone();
    let answer =
        tokio::spawn(async move { publisher.publish(vec![message("t", "a", "1"), message("t", "a", "2")]).await });
    consumer.receive(1).await.unwrap();
    broker.close().await;
    let results = answer.await.unwrap();
    assert!(results.iter().all(|result| result.as_ref().unwrap_err().kind() == BrokerErrorKind::Closed));
    assert_eq!(consumer.receive(1).await.unwrap_err().kind(), BrokerErrorKind::Closed);
    assert_eq!(consumer.settle(Vec::new()).await.unwrap_err().kind(), BrokerErrorKind::Closed);
    let subscription = Subscription { group: "g".into(), topics: Vec::new(), prefetch: 1 };
    assert_eq!(broker.subscribe(subscription).await.unwrap_err().kind(), BrokerErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn competing_consumers_keep_the_order_of_each_key() {
    let broker = MemoryBroker::new();
    let (handled, mut order) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..3 {
        let (mut consumer, handled) = (join(&broker, "g").await, handled.clone());
        tokio::spawn(async move {
            while let Ok(incoming) = consumer.receive(4).await {
                for incoming in incoming {
                    tokio::task::yield_now().await;
                    let text = String::from_utf8(incoming.delivery.payload().to_vec()).unwrap();
                    handled.send((incoming.delivery.message_key().unwrap().to_owned(), text)).unwrap();
                    consumer.settle(vec![(incoming.receipt, Settlement::Done)]).await.unwrap();
                }
            }
        });
    }
    let batch = (100..400).map(|n: u32| message("t", &(n % 7).to_string(), &n.to_string())).collect();
    assert!(broker.publish(batch).await.iter().all(Result::is_ok));
    broker.close().await;
    drop(handled);
    let mut last = std::collections::BTreeMap::new();
    let mut count = 0;
    while let Some((key, text)) = order.recv().await {
        assert!(last.insert(key, text.clone()).is_none_or(|before| before < text));
        count += 1;
    }
    assert_eq!(count, 300);
}

#[test]
fn it_does_not_cross_processes() {
    assert!(!MemoryBroker::new().crosses_processes());
}

#[cfg(feature = "testing")]
mod conformance {
    use std::sync::Arc;

    use crate::broker::MemoryBroker;
    use crate::broker::driver::Driver;
    use crate::testing::conformance::broker::Fixture;

    struct Memory(MemoryBroker);

    impl Fixture for Memory {
        fn connect(&self) -> Arc<dyn Driver> {
            Arc::new(self.0.clone())
        }
    }

    crate::broker_conformance!(Memory(MemoryBroker::new()));
}
