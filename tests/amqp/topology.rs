//! What is declared, what is refused, and who else may publish and consume.

use std::num::NonZeroU16;
use std::sync::Arc;

use cqrs::broker::BrokerErrorKind;
use cqrs::broker::driver::{Driver, Settlement};
use cqrs::{Broker, Declare};
use cqrs_tests::rabbit;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};

use crate::support::{
    bounded, declaring, driver, name, outgoing, plain, publish, publish_surely, subscribe, take, whole,
};

#[tokio::test(flavor = "multi_thread")]
async fn g11_what_nobody_takes_waits_until_a_group_subscribes() {
    bounded(async {
        let (url, topic) = (rabbit::url(), name("topic"));
        let broker = driver(&url);
        // Of a batch in which some topics have a group and others none, each message has its own answer.
        let (known, group) = (name("topic"), name("group"));
        let mut consumer = subscribe(&broker, &group, &known).await.unwrap();
        let batch: Vec<_> = (0..400)
            .map(|n| outgoing(if n % 2 == 0 { &known } else { &topic }, &n.to_string(), &n.to_string()))
            .collect();
        let results = broker.publish(batch).await;
        for (n, result) in results.iter().enumerate() {
            let kind = result.as_ref().err().map(cqrs::broker::BrokerError::kind);
            assert_eq!(kind, (n % 2 == 1).then_some(BrokerErrorKind::Unavailable), "message {n}");
        }
        assert!(
            results[1].as_ref().unwrap_err().to_string().contains(&format!("nobody takes messages of `{topic}` yet"))
        );
        assert_eq!(take(&mut *consumer, 200).await.len(), 200);

        let publishing = tokio::spawn({
            let (broker, late) = (Arc::clone(&broker), outgoing(&topic, "a", "late"));
            async move { publish_surely(&broker, late).await }
        });
        let mut late = subscribe(&broker, &group, &topic).await.unwrap();
        assert_eq!(take(&mut *late, 1).await, ["late"]);
        publishing.await.unwrap();

        let dropping = Broker::url(&url).property("mandatory", "false").connect().unwrap();
        publish(&dropping, outgoing(&name("topic"), "a", "gone")).await.unwrap();
        broker.close().await;
    })
    .await;
}

/// A queue that somebody else has bound may be full: the server refuses the message then, whichever other queues have it.
#[tokio::test(flavor = "multi_thread")]
async fn g8_what_a_full_queue_refuses_is_published_once_there_is_room() {
    bounded(async {
        let (url, topic, queue) = (rabbit::url(), name("topic"), name("queue"));
        let broker = driver(&url);
        let mut consumer = subscribe(&broker, &name("group"), &topic).await.unwrap();
        let (_connection, channel) = plain(&url).await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
        channel.queue_declare(queue.as_str().into(), exclusive, arguments).await.unwrap();
        let (from, none) = (topic.as_str().into(), FieldTable::default());
        channel.queue_bind(queue.as_str().into(), from, "".into(), QueueBindOptions::default(), none).await.unwrap();
        publish(&broker, outgoing(&topic, "a", "0")).await.unwrap();
        let refused = outgoing(&topic, "a", "1");
        for error in
            [publish(&broker, refused.clone()).await.unwrap_err(), publish(&broker, refused.clone()).await.unwrap_err()]
        {
            assert_eq!(error.kind(), BrokerErrorKind::Unavailable, "{error:?}");
            assert!(error.to_string().contains("a queue is full"), "{error}");
        }
        let taken = channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true }).await.unwrap();
        assert_eq!(taken.expect("the first").delivery.data, b"0");
        publish(&broker, refused).await.unwrap();
        let taken = channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true }).await.unwrap();
        assert_eq!(taken.expect("the second").delivery.data, b"1");
        assert_eq!(take(&mut *consumer, 1).await, ["0"]);
        consumer.close().await;
        broker.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_told_what_is_wrong() {
    bounded(async {
        let url = rabbit::url();
        let refused = async |url: String| {
            let broker = driver(&url);
            let error = publish(&broker, outgoing("t", "a", "x")).await.unwrap_err();
            assert_eq!(error.kind(), BrokerErrorKind::Configuration, "{error:?}");
            let error = subscribe(&broker, "g", "t").await.unwrap_err();
            assert_eq!(error.kind(), BrokerErrorKind::Configuration, "{error:?}");
            whole(&error)
        };
        let (scheme, rest) = url.split_once("://").unwrap();
        let (_, server) = rest.rsplit_once('@').unwrap_or(("", rest));
        let text = refused(format!("{scheme}://nobody:secret@{server}")).await;
        assert!(text.contains("nobody@") && text.contains("ACCESS_REFUSED") && !text.contains("secret"), "{text}");
        let base = url.rsplit_once('/').filter(|(base, _)| !base.ends_with('/')).map_or(url.as_str(), |(base, _)| base);
        let text = refused(format!("{base}/no-such-host")).await;
        assert!(text.contains("virtual host `no-such-host`") && text.contains("not found"), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_or_an_exchange_with_other_properties_is_named_with_the_mend() {
    bounded(async {
        let (url, topic, group) = (rabbit::url(), name("topic"), name("group"));
        let (_connection, channel) = plain(&url).await;
        let queue = format!("{group}:{topic}:3");
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.as_str().into(), durable, FieldTable::default()).await.unwrap();
        for declare in [Declare::Create, Declare::Check] {
            let error = subscribe(&declaring(&url, declare), &group, &topic).await.unwrap_err();
            assert_eq!(error.kind(), BrokerErrorKind::Configuration);
            let text = whole(&error);
            assert!(text.contains(&format!("the queue `{queue}` is there with other properties")), "{text}");
            assert!(text.contains("delete it once it is empty") && text.contains("PRECONDITION_FAILED"), "{text}");
            // To check comes to the queues only once the others are there.
            let options = QueueDeleteOptions::default();
            if declare == Declare::Create {
                channel.queue_delete(queue.as_str().into(), options).await.unwrap();
                subscribe(&driver(&url), &group, &topic).await.unwrap().close().await;
                channel.queue_delete(queue.as_str().into(), options).await.unwrap();
                channel.queue_declare(queue.as_str().into(), durable, FieldTable::default()).await.unwrap();
            }
        }

        let topic = name("topic");
        let direct = ExchangeKind::Direct;
        channel
            .exchange_declare(topic.as_str().into(), direct, ExchangeDeclareOptions::default(), FieldTable::default())
            .await
            .unwrap();
        let error = publish(&driver(&url), outgoing(&topic, "a", "x")).await.unwrap_err();
        let text = whole(&error);
        assert_eq!(error.kind(), BrokerErrorKind::Configuration, "{text}");
        assert!(text.contains(&format!("the exchange `{topic}` is there with other properties")), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_checks_makes_nothing_and_names_what_is_missing() {
    bounded(async {
        let (url, topic, group) = (rabbit::url(), name("topic"), name("group"));
        let checking = declaring(&url, Declare::Check);
        for error in [
            publish(&checking, outgoing(&topic, "a", "x")).await.unwrap_err(),
            subscribe(&checking, &group, &topic).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), BrokerErrorKind::Configuration);
            assert!(error.to_string().contains(&format!("the exchange `{topic}` is missing")), "{error}");
        }
        let maker = driver(&url);
        subscribe(&maker, &group, &topic).await.unwrap().close().await;
        let error = subscribe(&checking, "another", &topic).await.unwrap_err();
        assert!(error.to_string().contains(&format!("`another:{topic}:rest` is missing")), "{error}");
        for declare in [Declare::Check, Declare::Leave] {
            let broker = declaring(&url, declare);
            let mut consumer = subscribe(&broker, &group, &topic).await.unwrap();
            publish(&broker, outgoing(&topic, "a", "x")).await.unwrap();
            assert_eq!(take(&mut *consumer, 1).await, ["x"]);
            consumer.close().await;
        }
        // Who leaves it to others learns it from what fails.
        let leaving = declaring(&url, Declare::Leave);
        let error = publish(&leaving, outgoing(&name("topic"), "a", "x")).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Configuration, "{error:?}");
        publish(&leaving, outgoing(&topic, "a", "x")).await.unwrap();
        let mut consumer = subscribe(&leaving, &name("group"), &topic).await.unwrap();
        let error = consumer.receive(1).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Configuration, "{error:?}");
        assert!(error.to_string().contains("is missing"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_publish_is_read_whatever_its_key_and_headers() {
    bounded(async {
        let (url, topic, group) = (rabbit::url(), name("topic"), name("group"));
        let broker = driver(&url);
        let mut consumer = subscribe(&broker, &group, &topic).await.unwrap();
        let (_connection, channel) = plain(&url).await;
        // As python-cqrs does: a direct exchange of its own, with the topic as key and nothing said about the message.
        let foreign = name("exchange");
        let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
        channel.exchange_declare(foreign.as_str().into(), ExchangeKind::Direct, options, none.clone()).await.unwrap();
        let (to, from, bind) = (topic.as_str().into(), foreign.as_str().into(), ExchangeBindOptions::default());
        channel.exchange_bind(to, from, topic.as_str().into(), bind, none.clone()).await.unwrap();
        let publish = async |exchange: &str, key: &str, text: &str, properties| {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            channel.basic_publish(exchange.into(), key.into(), options, text.as_bytes(), properties).await.unwrap();
        };
        let mut odd = FieldTable::default();
        odd.insert("number".into(), AMQPValue::LongLongInt(7));
        odd.insert("bytes".into(), AMQPValue::LongString(vec![0xff, 0x00].into()));
        let mut nested = FieldTable::default();
        nested.insert("deep".into(), AMQPValue::FieldArray(vec![AMQPValue::Void].into()));
        odd.insert("nested".into(), AMQPValue::FieldTable(nested));
        publish(&foreign, &topic, "by another exchange", BasicProperties::default()).await;
        publish(&topic, "order.placed", "by another key", BasicProperties::default()).await;
        publish(&topic, "", "without key", BasicProperties::default()).await;
        publish(&topic, "3", "with odd headers", BasicProperties::default().with_headers(odd)).await;
        let mut texts = Vec::new();
        while texts.len() < 4 {
            for incoming in consumer.receive(4).await.unwrap() {
                let text = String::from_utf8(incoming.delivery.payload().to_vec()).unwrap();
                if text == "with odd headers" {
                    let headers: Vec<_> = incoming.delivery.headers().iter().collect();
                    assert_eq!(headers, [(&"number".to_owned(), &"7".to_owned())]);
                }
                assert_eq!(incoming.delivery.message_key(), None);
                assert_eq!(incoming.delivery.topic(), topic);
                texts.push(text);
                consumer.settle(vec![(incoming.receipt, Settlement::Done)]).await.unwrap();
            }
        }
        texts.sort();
        assert_eq!(texts, ["by another exchange", "by another key", "with odd headers", "without key"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_may_bind_a_queue_to_a_topic_and_gets_all_of_it() {
    bounded(async {
        let (url, topic, queue) = (rabbit::url(), name("topic"), name("queue"));
        let (_connection, channel) = plain(&url).await;
        let (durable, none) = (ExchangeDeclareOptions { durable: true, ..Default::default() }, FieldTable::default());
        // An exchange of type `topic` that was there before us does as well as ours.
        channel.exchange_declare(topic.as_str().into(), ExchangeKind::Topic, durable, none.clone()).await.unwrap();
        let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
        channel.queue_declare(queue.as_str().into(), exclusive, none.clone()).await.unwrap();
        let (to, from) = (queue.as_str().into(), topic.as_str().into());
        channel.queue_bind(to, from, "#".into(), QueueBindOptions::default(), none).await.unwrap();
        let broker = driver(&url);
        let mut consumer = subscribe(&broker, &name("group"), &topic).await.unwrap();
        let batch: Vec<_> = (0..40).map(|n| outgoing(&topic, &n.to_string(), &n.to_string())).collect();
        let ids: Vec<_> = batch.iter().map(|outgoing| outgoing.id.to_string()).collect();
        assert!(broker.publish(batch).await.iter().all(Result::is_ok));
        assert_eq!(take(&mut *consumer, 40).await.len(), 40);
        for id in ids {
            let options = BasicGetOptions { no_ack: true };
            let message = channel.basic_get(queue.as_str().into(), options).await.unwrap().expect("a message");
            let properties = &message.properties;
            assert_eq!(properties.message_id().as_ref().map(ToString::to_string), Some(id));
            assert_eq!((properties.delivery_mode(), properties.timestamp().is_some()), (&Some(2), true));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_counts_other_partitions_loses_nothing_and_keeps_the_order() {
    bounded(async {
        let (url, topic, group) = (rabbit::url(), name("topic"), name("group"));
        let of = |count| Broker::url(&url).partitions(NonZeroU16::new(count).unwrap()).connect().unwrap();
        let (few, many): (Arc<dyn Driver>, Arc<dyn Driver>) = (of(2), of(16));
        let mut consumer = subscribe(&few, &group, &topic).await.unwrap();
        let batch: Vec<_> =
            (0..200).map(|n| outgoing(&topic, &(n % 20).to_string(), &format!("{:02} {n:03}", n % 20))).collect();
        assert!(many.publish(batch).await.iter().all(Result::is_ok));
        let mut texts = take(&mut *consumer, 200).await;
        texts.sort_by_key(|text| text[..2].to_owned());
        assert!(texts.is_sorted(), "{texts:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_under_a_consumer_is_made_again() {
    bounded(async {
        let (url, topic, group) = (rabbit::url(), name("topic"), name("group"));
        let broker = driver(&url);
        let mut consumer = subscribe(&broker, &group, &topic).await.unwrap();
        publish(&broker, outgoing(&topic, "a", "before")).await.unwrap();
        assert_eq!(take(&mut *consumer, 1).await, ["before"]);
        let (_connection, channel) = plain(&url).await;
        for slot in 0..8 {
            let queue = format!("{group}:{topic}:{slot}");
            channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        }
        // Between the queue's end and its return nobody takes the messages: they wait with whoever publishes.
        for n in 0..20 {
            publish_surely(&broker, outgoing(&topic, &n.to_string(), &n.to_string())).await;
        }
        let mut texts = take(&mut *consumer, 20).await;
        texts.sort_by_key(|text| text.parse::<u32>().unwrap());
        assert_eq!(texts, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
        // It is one of ours again: another consumer of it has to wait.
        let queue = format!("{group}:{topic}:0");
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(i32::MAX));
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.as_str().into(), durable, arguments).await.unwrap();
        let options = BasicConsumeOptions::default();
        channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await.unwrap();
    })
    .await;
}
