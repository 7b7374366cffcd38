//! Order of each key and no loss, over redelivery, members that die, and many messages at once.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cqrs::broker::driver::{Consumer, Incoming, Outgoing, Settlement};
use cqrs_tests::proxy::Proxy;
use cqrs_tests::rabbit;
use tokio::sync::mpsc;

use crate::support::{bounded, driver, name, outgoing, publish_surely, subscribe, take};

/// The key and the number of a message.
fn read(incoming: &Incoming) -> (String, u32) {
    let text = std::str::from_utf8(incoming.delivery.payload()).expect("text");
    (incoming.delivery.message_key().expect("a key").to_owned(), text.parse().expect("a number"))
}

/// Messages `0..each` of each of so many keys, the first of each first.
fn messages(topic: &str, keys: u32, each: u32) -> Vec<Outgoing> {
    let one = |number: u32| (0..keys).map(move |key| outgoing(topic, &format!("key {key}"), &number.to_string()));
    (0..each).flat_map(one).collect()
}

/// Keeps for each key the highest number that was seen first, and panics where one is passed over.
#[derive(Debug, Default)]
struct Seen(BTreeMap<String, u32>);

impl Seen {
    fn note(&mut self, key: &str, number: u32) {
        let next = self.0.entry(key.to_owned()).or_default();
        assert!(number <= *next, "message {number} of {key} came before message {next}");
        *next = (*next).max(number + 1);
    }

    fn count(&self) -> u32 {
        self.0.values().sum()
    }
}

/// A way to the server that can be cut, and the URL by it.
fn cut_way() -> (Proxy, String) {
    let url = rabbit::url();
    let (before, rest) = url.rsplit_once('@').expect("a URL with a user");
    let (server, host) = rest.split_once('/').expect("a URL with a virtual host");
    let address = server.to_socket_addrs().expect("an address").next().expect("an address");
    let proxy = Proxy::to(address);
    let url = format!("{before}@{}/{host}", proxy.address());
    (proxy, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn g10_a_returned_message_comes_before_the_later_ones_of_its_key_that_were_fetched_with_it() {
    bounded(async {
        let (topic, broker) = (name("topic"), driver(&rabbit::url()));
        let mut consumer = subscribe(&broker, &name("group"), &topic).await.unwrap();
        assert!(broker.publish(messages(&topic, 3, 20)).await.iter().all(Result::is_ok));
        let (mut seen, mut returned) = (Seen::default(), 0);
        while seen.count() < 60 {
            for incoming in consumer.receive(16).await.unwrap() {
                let (key, number) = read(&incoming);
                // Every third message is handed back, each of them twice.
                let again = number % 3 == 1 && returned % 3 < 2;
                returned += u32::from(number % 3 == 1);
                if !again {
                    assert_eq!(seen.0.get(&key).copied().unwrap_or(0), number, "of {key}");
                    seen.note(&key, number);
                }
                let how = if again { Settlement::Return } else { Settlement::Done };
                consumer.settle(vec![(incoming.receipt, how)]).await.unwrap();
            }
        }
        assert!(returned >= 40);
        consumer.close().await;
        broker.close().await;
    })
    .await;
}

/// Handles what comes, slowly, and tells of it.
async fn work(mut consumer: Box<dyn Consumer>, told: mpsc::UnboundedSender<(String, u32)>) {
    loop {
        // An outage is waited for.
        let Ok(incoming) = consumer.receive(8).await else { continue };
        for incoming in incoming {
            let (key, number) = read(&incoming);
            if told.send((key, number)).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            // A broker that cannot be told delivers it again.
            let _ = consumer.settle(vec![(incoming.receipt, Settlement::Done)]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g10_members_that_are_cut_off_or_die_lose_nothing_and_keep_the_order() {
    bounded(async {
        let (topic, group) = (name("topic"), name("group"));
        let publisher = driver(&rabbit::url());
        let (told, mut tells) = mpsc::unbounded_channel();
        let (proxy, way) = cut_way();
        #[expect(clippy::async_yields_async, reason = "the test waits for the task later")]
        let join = async |url: &str| {
            let consumer = subscribe(&driver(url), &group, &topic).await.unwrap();
            tokio::spawn(work(consumer, told.clone()))
        };
        let mut workers = vec![join(&way).await, join(&way).await, join(&rabbit::url()).await];
        let all = messages(&topic, 40, 100);
        let publishing = tokio::spawn(async move {
            for batch in all.chunks(200) {
                let mut left = batch.to_vec();
                while !left.is_empty() {
                    let results = publisher.publish(left.clone()).await;
                    left = left
                        .into_iter()
                        .zip(results)
                        .filter_map(|(it, result)| result.is_err().then_some(it))
                        .collect();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let (mut seen, mut next) = (Seen::default(), 400);
        while seen.count() < 4000 {
            let (key, number) = tells.recv().await.unwrap();
            seen.note(&key, number);
            if seen.count() >= next {
                next += 800;
                // Connections are cut, and a member dies with what it holds while another one joins.
                proxy.cut();
                workers.remove(0).abort();
                workers.push(join(&way).await);
            }
        }
        publishing.await.unwrap();
        workers.iter().for_each(tokio::task::JoinHandle::abort);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g12_what_a_dead_member_held_is_taken_up_within_ten_seconds() {
    bounded(async {
        let (topic, group, broker) = (name("topic"), name("group"), driver(&rabbit::url()));
        let (proxy, way) = cut_way();
        let mut first = subscribe(&driver(&way), &group, &topic).await.unwrap();
        assert!(broker.publish(messages(&topic, 1, 2)).await.iter().all(Result::is_ok));
        // The queue goes to who comes first, which is told here only by what comes.
        let held = first.receive(1).await.unwrap();
        assert_eq!(read(&held[0]).1, 0);
        let mut second = subscribe(&broker, &group, &topic).await.unwrap();
        let dead = Instant::now();
        drop(proxy);
        assert_eq!(take(&mut *second, 2).await, ["0", "1"]);
        assert!(dead.elapsed() < Duration::from_secs(10));
        // What the dead one does now comes too late, and is harmless.
        let _ = first.settle(vec![(held[0].receipt, Settlement::Done)]).await;
        publish_surely(&broker, outgoing(&topic, "key 0", "2")).await;
        assert_eq!(take(&mut *second, 1).await, ["2"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_messages_are_published_at_once_and_come_once_each() {
    bounded(async {
        let (topic, broker) = (name("topic"), driver(&rabbit::url()));
        let consumer = subscribe(&broker, &name("group"), &topic).await.unwrap();
        // As the relay does: one call for all of a key, and one for each message without.
        let mut calls = Vec::new();
        for key in 0..100 {
            let of_key = (0..100).map(|number: u32| outgoing(&topic, &format!("key {key}"), &number.to_string()));
            calls.push(of_key.collect::<Vec<_>>());
        }
        for number in 0..10_000_u32 {
            let mut message = outgoing(&topic, "", &number.to_string());
            message.delivery = cqrs::Delivery::new(topic.clone(), number.to_string());
            calls.push(vec![message]);
        }
        let publishing: Vec<_> = calls
            .into_iter()
            .map(|batch| {
                let broker = Arc::clone(&broker);
                tokio::spawn(async move { broker.publish(batch).await })
            })
            .collect();
        let taking = tokio::spawn(async move {
            let (mut consumer, mut keyed, mut free) = (consumer, Seen::default(), vec![0_u32; 10_000]);
            let mut taken = 0;
            while taken < 20_000 {
                let incoming = consumer.receive(100).await.unwrap();
                taken += incoming.len();
                for incoming in &incoming {
                    match incoming.delivery.message_key() {
                        Some(_) => {
                            let (key, number) = read(incoming);
                            assert_eq!(keyed.0.get(&key).copied().unwrap_or(0), number);
                            keyed.note(&key, number);
                        }
                        None => {
                            let text = std::str::from_utf8(incoming.delivery.payload()).unwrap();
                            free[text.parse::<usize>().unwrap()] += 1;
                        }
                    }
                }
                let done = incoming.iter().map(|incoming| (incoming.receipt, Settlement::Done)).collect();
                consumer.settle(done).await.unwrap();
            }
            (keyed.count(), free)
        });
        for publishing in publishing {
            assert!(publishing.await.unwrap().iter().all(Result::is_ok));
        }
        let (keyed, free) = taking.await.unwrap();
        assert_eq!(keyed, 10_000);
        assert!(free.iter().all(|count| *count == 1));
        broker.close().await;
    })
    .await;
}
