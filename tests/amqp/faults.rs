//! What goes wrong with the server itself: each test has one of its own.

use std::sync::Arc;
use std::time::Duration;

use cqrs::broker::BrokerErrorKind;
use cqrs::broker::driver::Outgoing;
use cqrs::{Broker, Delivery};
use cqrs_tests::rabbit::RabbitServer;
use uuid::Uuid;

use crate::support::{bounded, driver, name, outgoing, publish, publish_surely, subscribe, take, whole};

#[tokio::test(flavor = "multi_thread")]
async fn g8_a_server_that_is_down_is_waited_for_and_loses_nothing_when_it_is_killed() {
    bounded(async {
        let (topic, group) = (name("topic"), name("group"));
        let mut server = RabbitServer::start();
        server.stop();
        let broker = driver(&server.url());
        // It is down when we start: publishing says so at once, and who has subscribed waits.
        let error = publish(&broker, outgoing(&topic, "a", "0")).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Unavailable, "{error:?}");
        assert!(whole(&error).contains("cannot be connected to"), "{}", whole(&error));
        let mut consumer = subscribe(&broker, &group, &topic).await.unwrap();
        server.start_again();
        let publishing = tokio::spawn({
            let (broker, topic) = (Arc::clone(&broker), topic.clone());
            async move {
                for number in 0..20 {
                    publish_surely(&broker, outgoing(&topic, "a", &number.to_string())).await;
                }
            }
        });
        let taken = take(&mut *consumer, 20).await;
        assert_eq!(taken, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
        publishing.await.unwrap();

        // What it has confirmed is there after it was killed, and comes in order.
        consumer.close().await;
        let confirmed: Vec<_> = (0..500).map(|number| outgoing(&topic, "a", &number.to_string())).collect();
        assert!(broker.publish(confirmed).await.iter().all(Result::is_ok));
        // It writes down what its queues are made of a little later than what is in them.
        tokio::time::sleep(Duration::from_secs(6)).await;
        server.stop();
        server.start_again();
        let mut consumer = subscribe(&broker, &group, &topic).await.unwrap();
        assert_eq!(take(&mut *consumer, 500).await, (0..500).map(|number| number.to_string()).collect::<Vec<_>>());
        consumer.close().await;
        broker.close().await;
        let error = publish(&broker, outgoing(&topic, "a", "x")).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Closed);
        assert_eq!(subscribe(&broker, &group, &topic).await.unwrap_err().kind(), BrokerErrorKind::Closed);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_short_of_memory_is_waited_for() {
    bounded(async {
        let (topic, group, server) = (name("topic"), name("group"), RabbitServer::start());
        let broker = driver(&server.url());
        let mut consumer = subscribe(&broker, &group, &topic).await.unwrap();
        publish(&broker, outgoing(&topic, "a", "before")).await.unwrap();
        server.control(&["set_vm_memory_high_watermark", "0"]);
        // The first message finds it out, and waits; the next ones are told.
        let waiting = tokio::spawn({
            let (broker, message) = (Arc::clone(&broker), outgoing(&topic, "a", "waits"));
            async move { publish(&broker, message).await }
        });
        let error = loop {
            let sent = publish(&broker, outgoing(&topic, "b", "late"));
            if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(1), sent).await {
                break error;
            }
        };
        assert_eq!(error.kind(), BrokerErrorKind::Unavailable);
        assert!(error.to_string().contains("short of memory or disk"), "{error}");
        // Who consumes goes on.
        assert_eq!(take(&mut *consumer, 1).await, ["before"]);
        server.control(&["set_vm_memory_high_watermark", "0.4"]);
        waiting.await.unwrap().unwrap();
        publish_surely(&broker, outgoing(&topic, "c", "after")).await;
        let mut texts = Vec::new();
        while texts.last().is_none_or(|text| text != "after") {
            texts.extend(take(&mut *consumer, 1).await);
        }
        assert!(texts.contains(&"waits".to_owned()), "{texts:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g11_a_message_that_is_too_large_is_refused_and_the_others_go_on() {
    bounded(async {
        let server = RabbitServer::with_settings("max_message_size = 100000");
        let (topic, broker) = (name("topic"), driver(&server.url()));
        let mut consumer = subscribe(&broker, &name("group"), &topic).await.unwrap();
        let large = |key: &str| {
            let delivery = Delivery::new(topic.clone(), vec![b'x'; 100_001]).key(key);
            Outgoing { id: Uuid::now_v7(), delivery }
        };
        let batch = vec![
            outgoing(&topic, "a", "a0"),
            large("b"),
            outgoing(&topic, "b", "behind the large one"),
            outgoing(&topic, "c", "c0"),
        ];
        let kinds = |results: &[Result<(), cqrs::broker::BrokerError>]| {
            results.iter().map(|result| result.as_ref().err().map(cqrs::broker::BrokerError::kind)).collect::<Vec<_>>()
        };
        // The first time, nobody knows the limit: the server ends the channel, and what came behind is tried again.
        let results = broker.publish(batch.clone()).await;
        assert_eq!(kinds(&results)[1], Some(BrokerErrorKind::Refused), "{results:?}");
        assert!(results[1].as_ref().unwrap_err().to_string().contains("the AMQP broker takes 100000"), "{results:?}");
        assert!(kinds(&results)[2..].iter().all(|kind| *kind != Some(BrokerErrorKind::Refused)), "{results:?}");
        // From then on it is known: only the large one is refused, and what is behind it in its key waits.
        let results = broker.publish(batch).await;
        let (refused, waits) = (Some(BrokerErrorKind::Refused), Some(BrokerErrorKind::Unavailable));
        assert_eq!(kinds(&results), [None, refused, waits, None], "{results:?}");
        publish(&broker, outgoing(&topic, "z", "end")).await.unwrap();
        let mut texts = Vec::new();
        while !["a0", "c0", "end"].iter().all(|text| texts.contains(&(*text).to_owned())) {
            texts.extend(take(&mut *consumer, 1).await);
        }
        assert!(!texts.contains(&"behind the large one".to_owned()), "it is said to wait: {texts:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_noticed_by_its_heartbeats_and_joined_again() {
    bounded(async {
        let (topic, group, server) = (name("topic"), name("group"), RabbitServer::start());
        let broker = driver(&format!("{}?heartbeat=1&connection_timeout=1000", server.url()));
        let mut consumer = subscribe(&broker, &group, &topic).await.unwrap();
        publish(&broker, outgoing(&topic, "a", "0")).await.unwrap();
        assert_eq!(take(&mut *consumer, 1).await, ["0"]);
        server.signal("STOP");
        let error = publish(&broker, outgoing(&topic, "a", "1")).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Unavailable, "{error:?}");
        let error = publish(&broker, outgoing(&topic, "a", "1")).await.unwrap_err();
        assert!(error.to_string().contains("did not answer within 1s"), "{}", whole(&error));
        server.signal("CONT");
        publish_surely(&broker, outgoing(&topic, "a", "1")).await;
        while take(&mut *consumer, 1).await != ["1"] {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_reached_by_tls_where_its_authority_is_trusted() {
    bounded(async {
        let Ok(url) = std::env::var("CQRS_TEST_AMQP_TLS_URL") else {
            panic!("`CQRS_TEST_AMQP_TLS_URL` must name a RabbitMQ with TLS: `tests/services up` starts one");
        };
        let Ok(ca) = std::env::var("CQRS_TEST_TLS_CA") else {
            panic!("`CQRS_TEST_TLS_CA` must name the certificate of the servers' authority");
        };
        let (topic, group) = (name("topic"), name("group"));
        let broker = Broker::url(&url).tls_ca(&ca).connect().unwrap();
        let mut consumer = subscribe(&broker, &group, &topic).await.unwrap();
        publish(&broker, outgoing(&topic, "a", "encrypted")).await.unwrap();
        assert_eq!(take(&mut *consumer, 1).await, ["encrypted"]);
        // Without, nobody vouches for the server.
        let error = publish(&driver(&url), outgoing(&topic, "a", "x")).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Configuration, "{error:?}");
    })
    .await;
}
