//! A broker that is down, stopped, choosy or not ours; and what may not be published.

use std::time::Duration;

use cqrs::broker::BrokerErrorKind;
use cqrs::broker::driver::{Consumer, Driver, Outgoing};
use cqrs::{Broker, Declare};
use cqrs_tests::kafka::{self, KafkaServer, USER};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::support::{bounded, done, driver, join, message, publish_one, random, receive, text};

/// Gives a batch up after three seconds without an answer.
const SOON: [(&str, &str); 1] = [("message.timeout.ms", "3000")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_down_at_the_start_is_waited_for() {
    let mut server = KafkaServer::start();
    let (driver, topic) = (driver(&server.url(), &SOON), random("topic"));
    server.stop();
    assert_eq!(publish_one(&*driver, &topic, "a", "1").await, Err(BrokerErrorKind::Unavailable));
    let mut consumer = join(&*driver, "group", &topic, 10).await;
    server.start_again();
    while publish_one(&*driver, &topic, "a", "2").await.is_err() {}
    let received = receive(&mut *consumer, 1).await;
    assert_eq!(text(&received[0]), "2", "what was not confirmed was not published");
    done(&mut *consumer, &received).await;
    consumer.close().await;
    driver.close().await;
    assert_eq!(publish_one(&*driver, &topic, "a", "3").await, Err(BrokerErrorKind::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_broker_is_unavailable_and_no_message_passes_an_earlier_one_of_its_key() {
    let server = KafkaServer::start();
    let (driver, topic) = (driver(&server.url(), &SOON), random("topic"));
    let mut consumer = join(&*driver, "group", &topic, 100).await;
    assert_eq!(publish_one(&*driver, &topic, "a", "first").await, Ok(()));
    let first = receive(&mut *consumer, 1).await;
    done(&mut *consumer, &first).await;

    server.signal("STOP");
    let batch: Vec<_> = (0..20).map(|number| message(&topic, "a", format!("{number:02}"))).collect();
    let results = bounded(driver.publish(batch.clone())).await;
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().map_err(cqrs::broker::BrokerError::kind)).collect();
    assert!(kinds.iter().all(|kind| *kind == Err(BrokerErrorKind::Unavailable)), "{kinds:?}");
    server.signal("CONT");

    publish_until_done(&*driver, batch).await;
    come_in_order(&mut *consumer, 20).await;
    consumer.close().await;
    driver.close().await;
}

/// Publishes what is not published yet until all of it is.
async fn publish_until_done(driver: &dyn Driver, mut left: Vec<Outgoing>) {
    while !left.is_empty() {
        let results = bounded(driver.publish(left.clone())).await;
        left = left.into_iter().zip(results).filter_map(|(outgoing, result)| result.err().map(|_| outgoing)).collect();
    }
}

/// Receives numbers. Some may come twice, for the broker may have taken them; but none before one that is due.
async fn come_in_order(consumer: &mut dyn Consumer, count: usize) {
    let mut due = 0;
    while due < count {
        for incoming in receive(consumer, 1).await {
            let number: usize = text(&incoming).parse().expect("a number");
            assert!(number <= due, "{number} came when {due} was due");
            due = due.max(number + 1);
            done(consumer, &[incoming]).await;
        }
    }
}

/// A topic of one partition that takes messages, and batches of them, of so many bytes at most.
async fn narrow(bytes: &str) -> String {
    let (servers, topic) = (kafka::url().trim_start_matches("kafka://").to_owned(), random("topic"));
    let admin: AdminClient<DefaultClientContext> =
        rdkafka::ClientConfig::new().set("bootstrap.servers", servers).create().expect("a client");
    let narrow = NewTopic::new(&topic, 1, TopicReplication::Fixed(-1)).set("max.message.bytes", bytes);
    admin.create_topics([&narrow], &AdminOptions::new()).await.expect("an answer")[0].as_ref().expect("a topic");
    topic
}

/// To a broker that does not know a producer yet the number of a request says nothing: of one that was sent before the first was refused it
/// would take what is behind that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_new_producer_nothing_overtakes_a_request_that_is_refused() {
    const COUNT: usize = 2_050;
    let (driver, topic) = (driver(&kafka::url(), &[]), narrow("100000").await);
    let mut consumer = join(&*driver, &random("group"), &topic, 500).await;
    // Two requests that are too large, and one that is not.
    let batch = (0..COUNT).map(|number| message(&topic, "a", format!("{number:01000}"))).collect();
    publish_until_done(&*driver, batch).await;
    come_in_order(&mut *consumer, COUNT).await;
    consumer.close().await;
    driver.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_broker_finds_too_large_takes_no_other_message_along() {
    let (url, topic) = (kafka::url(), narrow("20000").await);
    let driver = driver(&url, &[]);
    let mut consumer = join(&*driver, &random("group"), &topic, 100).await;
    let mut batch: Vec<_> =
        (0..40_u32).map(|number| message(&topic, &(number % 4).to_string(), number.to_string())).collect();
    batch[13].delivery = cqrs::Delivery::new(&*topic, vec![b'x'; 30_000]).key("1");
    let results = bounded(driver.publish(batch)).await;
    assert_eq!(results[13].as_ref().map_err(cqrs::broker::BrokerError::kind), Err(BrokerErrorKind::Refused));
    let published: Vec<_> = (0..40).filter(|number| results[*number].is_ok()).collect();
    let expected: Vec<_> = (0..40).filter(|number| number % 4 != 1 || *number < 13).collect();
    assert_eq!(published, expected, "{results:?}");
    let received = receive(&mut *consumer, expected.len()).await;
    let mut numbers: Vec<usize> = received.iter().map(|incoming| text(incoming).parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, expected);
    // The key goes on once the refused one is out of its way.
    assert_eq!(publish_one(&*driver, &topic, "1", "17").await, Ok(()));
    consumer.close().await;
    driver.close().await;
}

/// What becomes of a message when the broker has had the time to say what it has against us: until then it cannot be reached,
/// as far as anybody knows, and a slow machine gives it up meanwhile.
async fn told_at_last(driver: &dyn cqrs::broker::driver::Driver, topic: &str) -> Result<(), BrokerErrorKind> {
    for _ in 0..5 {
        let told = publish_one(driver, topic, "a", "1").await;
        if told != Err(BrokerErrorKind::Unavailable) {
            return told;
        }
    }
    Err(BrokerErrorKind::Unavailable)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_a_mistake_and_the_right_one_works() {
    let server = KafkaServer::start();
    let topic = random("topic");
    let wrong = driver(&server.url_of(USER.0, "wrong"), &[("message.timeout.ms", "5000")]);
    assert_eq!(told_at_last(&*wrong, &topic).await, Err(BrokerErrorKind::Configuration));
    let subscription =
        cqrs::broker::driver::Subscription { group: "g".into(), topics: vec![topic.clone()], prefetch: 1 };
    // A slow machine finds out behind the scenes, and says so when something is to be received.
    let error = match bounded(wrong.subscribe(subscription)).await {
        Ok(mut consumer) => bounded(consumer.receive(1)).await.expect_err("a wrong password"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), BrokerErrorKind::Configuration, "{error:?}");
    assert!(!format!("{error:?}").contains("wrong"), "the password is told: {error:?}");
    let right = driver(&server.url_of(USER.0, USER.1), &[]);
    assert_eq!(publish_one(&*right, &topic, "a", "1").await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_scram_is_by_url_and_needs_the_authority_to_be_trusted() {
    let get = |name| {
        std::env::var(name).unwrap_or_else(|_| {
            panic!("`{name}` is not set: start the servers with `tests/services up` and take over what `tests/services env` prints")
        })
    };
    let (url, ca) = (get("CQRS_TEST_KAFKA_TLS_URL"), get("CQRS_TEST_TLS_CA"));
    let (topic, group) = (random("topic"), random("group"));
    let trusting = Broker::url(url.clone()).tls_ca(ca).connect().expect("a sound URL");
    assert_eq!(publish_one(&*trusting, &topic, "a", "1").await, Ok(()));
    let mut consumer = join(&*trusting, &group, &topic, 1).await;
    assert_eq!(text(&receive(&mut *consumer, 1).await[0]), "1");
    consumer.close().await;
    let doubting = driver(&url, &[("message.timeout.ms", "5000")]);
    let refusal = told_at_last(&*doubting, &topic).await;
    assert_eq!(refusal, Err(BrokerErrorKind::Configuration), "who signed the certificate is not trusted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_somebody_else_sees_to_is_missed_when_it_is_used() {
    let broker =
        Broker::url(kafka::url()).declare(Declare::Leave).property("topic.metadata.propagation.max.ms", "1000");
    let (driver, topic) = (broker.connect().expect("a sound URL"), random("topic"));
    assert_eq!(publish_one(&*driver, &topic, "a", "1").await, Err(BrokerErrorKind::Configuration));
    let mut consumer = join(&*driver, &random("group"), &topic, 1).await;
    let error = bounded(consumer.receive(1)).await.expect_err("no topic");
    assert_eq!(error.kind(), BrokerErrorKind::Configuration);
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_cannot_be_written_is_refused_and_harms_no_other_message() {
    let (driver, topic) = (driver(&kafka::url(), &[]), random("topic"));
    let mut batch = vec![message(&topic, "a", "1"), message(&topic, "b", "2"), message(&topic, "c", "3")];
    batch[1].delivery = batch[1].delivery.clone().header("na\0me", "value");
    let results = bounded(driver.publish(batch)).await;
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert_eq!(results[1].as_ref().map_err(cqrs::broker::BrokerError::kind), Err(BrokerErrorKind::Refused));
    driver.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_messages_keep_the_order_of_their_keys() {
    const COUNT: usize = 100_000;
    let (driver, topic) = (driver(&kafka::url(), &[]), random("topic"));
    let mut consumer = join(&*driver, &random("group"), &topic, 5000).await;
    let batch: Vec<_> =
        (0..COUNT).map(|number| message(&topic, &(number % 100).to_string(), (number / 100).to_string())).collect();
    let publisher = std::sync::Arc::clone(&driver);
    let publishing = tokio::spawn(async move { publish_all(&*publisher, batch).await });
    let mut due = std::collections::HashMap::<String, u32>::new();
    let mut count = 0;
    while count < COUNT {
        let received = bounded(consumer.receive(1000)).await.expect("messages");
        for incoming in &received {
            let key = incoming.delivery.message_key().expect("a key").to_owned();
            let due = due.entry(key).or_default();
            assert_eq!(text(incoming), due.to_string());
            *due += 1;
        }
        count += received.len();
        done(&mut *consumer, &received).await;
    }
    publishing.await.expect("published");
    consumer.close().await;
    driver.close().await;
}

async fn publish_all(driver: &dyn Driver, batch: Vec<cqrs::broker::driver::Outgoing>) {
    let results = tokio::time::timeout(Duration::from_mins(2), driver.publish(batch)).await.expect("answers in time");
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|result| result.is_err()));
}
