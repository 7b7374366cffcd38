//! Topics: names, partitions, streams that are there, duplicates.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, RetentionPolicy};
use tokio::time::timeout;

use super::{
    BrokerErrorKind, BrokerOptions, Declare, Settlement, broker, delete, kinds, message, options, subscription, take,
    unique, url, with,
};
use crate::broker::nats::name;

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_groups_may_have_any_name() {
    let (url, unique) = (url(), unique("hostile"));
    for hostile in ["a.b", "..", " ", "*", ">", "a.>", "$JS.API.x", "/../x\\", "straße 🦀", "\r\nPUB x 0\r\n", "=41"]
    {
        // Before and behind, so that what stands at an end is hostile too.
        for topic in [format!("{hostile}{unique}"), format!("{unique}{hostile}")] {
            let driver = broker(&url, options(Declare::Create));
            let mut consumer = driver.subscribe(subscription(&topic, &topic, 10)).await.unwrap();
            let results = driver.publish(vec![message(&topic, Some(hostile), hostile)]).await;
            assert!(results[0].is_ok(), "{topic:?}: {results:?}");
            let incoming = timeout(Duration::from_secs(10), consumer.receive(10)).await.unwrap().unwrap();
            assert_eq!(incoming[0].delivery.topic(), topic);
            assert_eq!(incoming[0].delivery.message_key(), Some(hostile));
            consumer.close().await;
            delete(&url, &topic).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_a_name_is_refused() {
    let driver = broker(&url(), options(Declare::Create));
    for topic in [String::new(), "x".repeat(300)] {
        let result = driver.publish(vec![message(&topic, None, "1")]).await.remove(0);
        assert_eq!(result.unwrap_err().kind(), BrokerErrorKind::Configuration);
        let error = driver.subscribe(subscription("g", &topic, 1)).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Configuration);
    }
    let error = driver.subscribe(subscription("", "t", 1)).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Configuration);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_partitions_is_refused_by_name() {
    let (url, topic) = (url(), unique("partitions"));
    let driver = broker(&url, options(Declare::Create));
    assert!(driver.publish(vec![message(&topic, None, "1")]).await[0].is_ok());
    for declare in [Declare::Create, Declare::Check] {
        let five = BrokerOptions { partitions: NonZeroU16::new(5).unwrap(), ..options(declare) };
        let error = broker(&url, five).subscribe(subscription("g", &topic, 1)).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Configuration);
        let text = error.to_string();
        assert!(text.contains("has 8 partitions, and 5 are set") && text.contains(&topic), "{text}");
    }
    delete(&url, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_somebody_elses_is_refused() {
    let (url, topic) = (url(), unique("foreign"));
    let context = async_nats::jetstream::new(async_nats::connect(&url).await.unwrap());
    let subjects: Vec<_> = (0..8).map(|slot| name::subject(&topic, slot)).collect();
    let config = |retention, subjects| Config { name: topic.clone(), subjects, retention, ..Config::default() };
    let streams = [
        (config(RetentionPolicy::WorkQueue, subjects.clone()), "retention"),
        (config(RetentionPolicy::Limits, vec![format!("{topic}.>")]), "other subjects"),
    ];
    for (config, what) in streams {
        context.create_stream(config).await.unwrap();
        let result = broker(&url, options(Declare::Create)).publish(vec![message(&topic, None, "1")]).await.remove(0);
        let error = result.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Configuration);
        assert!(error.to_string().contains(what), "{error}");
        delete(&url, &topic).await;
    }
    // The subjects are taken by a stream of another name.
    let other = unique("other");
    context.create_stream(Config { name: other.clone(), subjects, ..Config::default() }).await.unwrap();
    let result = broker(&url, options(Declare::Create)).publish(vec![message(&topic, None, "1")]).await.remove(0);
    assert_eq!(result.unwrap_err().kind(), BrokerErrorKind::Configuration);
    // Where somebody else sees to the streams, it is taken as it is.
    assert!(broker(&url, options(Declare::Leave)).publish(vec![message(&topic, None, "1")]).await[0].is_ok());
    delete(&url, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_made_with_what_the_properties_say() {
    let (url, topic) = (url(), unique("made"));
    let properties = [("max_age", "1h"), ("max_bytes", "1000000"), ("duplicate_window", "30s")];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let driver = broker(&url, BrokerOptions { properties, ..BrokerOptions::default() });
    assert!(driver.publish(vec![message(&topic, None, "1")]).await[0].is_ok());
    let context = async_nats::jetstream::new(async_nats::connect(&url).await.unwrap());
    let stream = context.get_stream(&topic).await.unwrap();
    let config = &stream.cached_info().config;
    assert_eq!(config.max_age, Duration::from_hours(1));
    assert_eq!(config.max_bytes, 1_000_000);
    assert_eq!(config.duplicate_window, Duration::from_secs(30));
    // What is full takes nothing more, and loses nothing that it has.
    let batch: Vec<_> = (0..20).map(|_| message(&topic, None, &"x".repeat(100_000))).collect();
    let kinds = kinds(&driver.publish(batch).await);
    assert!(kinds["Unavailable"] > 0 && kinds["published"] > 0, "{kinds:?}");
    let mut consumer = driver.subscribe(subscription("g", &topic, 100)).await.unwrap();
    assert!(take(&mut consumer, 1 + kinds["published"]).await.contains(&"1".to_owned()));
    delete(&url, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_twice_within_the_window_is_stored_once() {
    let (url, topic) = (url(), unique("twice"));
    let driver = broker(&url, with("duplicate_window", "1s"));
    let first = message(&topic, Some("a"), "1");
    for _ in 0..3 {
        assert!(driver.publish(vec![first.clone()]).await[0].is_ok());
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(driver.publish(vec![first, message(&topic, Some("a"), "2")]).await.iter().all(Result::is_ok));
    let mut consumer = driver.subscribe(subscription("g", &topic, 10)).await.unwrap();
    assert_eq!(take(&mut consumer, 3).await, ["1", "1", "2"], "stored again when the window has passed");
    consumer.close().await;
    delete(&url, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_key_are_spread_and_those_of_a_key_are_together() {
    let (url, topic) = (url(), unique("spread"));
    let driver = broker(&url, options(Declare::Create));
    let mut batch: Vec<_> = (0..80).map(|_| message(&topic, None, "-")).collect();
    batch.extend((0..80).map(|_| message(&topic, Some("foobar"), "k")));
    assert!(driver.publish(batch).await.iter().all(Result::is_ok));
    let context = async_nats::jetstream::new(async_nats::connect(&url).await.unwrap());
    let stream = context.get_stream(&topic).await.unwrap();
    let mut counts = stream.info_with_subjects(">").await.unwrap();
    let mut by_subject = BTreeMap::new();
    while let Some((subject, count)) = futures_util::TryStreamExt::try_next(&mut counts).await.unwrap() {
        by_subject.insert(subject, count);
    }
    let expected: BTreeMap<_, _> = (0..8)
        .map(|slot| (name::subject(&topic, slot), if slot == name::slot("foobar", 8) { 90 } else { 10 }))
        .collect();
    assert_eq!(by_subject, expected);
    delete(&url, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_messages_in_one_batch() {
    let (url, topic) = (url(), unique("many"));
    let driver = broker(&url, options(Declare::Create));
    let batch: Vec<_> =
        (0..20_000).map(|n: u32| message(&topic, Some(&(n % 1_000).to_string()), &format!("{n:05}"))).collect();
    assert_eq!(kinds(&driver.publish(batch).await), BTreeMap::from([("published".to_owned(), 20_000)]));
    let mut consumer = driver.subscribe(subscription("g", &topic, 2_000)).await.unwrap();
    let taken = take(&mut consumer, 20_000).await;
    let mut last = BTreeMap::new();
    for text in &taken {
        let number: u32 = text.parse().unwrap();
        let before = last.insert(number % 1_000, number);
        assert!(before.is_none_or(|before| before < number), "{before:?} {number}");
    }
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 20_000);
    consumer.close().await;
    delete(&url, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_made_anew_is_read_from_its_beginning() {
    let (url, topic) = (url(), unique("anew"));
    let driver = broker(&url, options(Declare::Create));
    let mut consumer = driver.subscribe(subscription("g", &topic, 10)).await.unwrap();
    let batch = |from: u32| (from..from + 20).map(|n| message(&topic, Some("a"), &n.to_string())).collect::<Vec<_>>();
    assert!(driver.publish(batch(0)).await.iter().all(Result::is_ok));
    take(&mut consumer, 20).await;
    delete(&url, &topic).await;
    let mut left = batch(20);
    while !left.is_empty() {
        let results = driver.publish(left.clone()).await;
        left = left.into_iter().zip(results).filter_map(|(message, result)| result.err().map(|_| message)).collect();
    }
    let expected: Vec<_> = (20..40).map(|n: u32| n.to_string()).collect();
    assert_eq!(take(&mut consumer, 20).await, expected);
    consumer.close().await;
    delete(&url, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_come_back_whatever_is_in_them() {
    let (url, topic) = (url(), unique("headers"));
    let driver = broker(&url, options(Declare::Create));
    let mut outgoing = message(&topic, Some("k\r\nx: y"), "1");
    for hostile in ["", " a ", "a\r\nNats-Rollup: all", "Nats-Expected-Stream", "ü", "a:b", "=?", "\0"] {
        outgoing.delivery.headers.insert(hostile.to_owned(), hostile.to_owned());
    }
    let results = driver.publish(vec![outgoing.clone()]).await;
    assert!(results[0].is_ok(), "{results:?}");
    let mut consumer = driver.subscribe(subscription("g", &topic, 10)).await.unwrap();
    let incoming = timeout(Duration::from_secs(10), consumer.receive(1)).await.unwrap().unwrap();
    assert_eq!(incoming[0].delivery, outgoing.delivery);
    consumer.settle(vec![(incoming[0].receipt, Settlement::Done)]).await.unwrap();
    consumer.close().await;
    delete(&url, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_behind_a_message_that_was_not_does_not_come_again() {
    let (url, topic, group) = (url(), unique("hole"), unique("group"));
    let driver = broker(&url, options(Declare::Create));
    let mut first = driver.subscribe(subscription(&group, &topic, 100)).await.unwrap();
    let batch = (0..50).map(|n: u32| message(&topic, Some(&n.to_string()), &n.to_string())).collect();
    assert!(driver.publish(batch).await.iter().all(Result::is_ok));
    let mut held = Vec::new();
    while held.len() < 50 {
        held.extend(timeout(Duration::from_secs(10), first.receive(100)).await.unwrap().unwrap());
    }
    let (left, done): (Vec<_>, Vec<_>) =
        held.into_iter().partition(|incoming| incoming.delivery.message_key().unwrap().ends_with('0'));
    first.settle(done.iter().map(|incoming| (incoming.receipt, Settlement::Done)).collect()).await.unwrap();
    first.close().await;
    let mut second = driver.subscribe(subscription(&group, &topic, 100)).await.unwrap();
    let expected: BTreeSet<_> =
        left.iter().map(|incoming| incoming.delivery.message_key().unwrap().to_owned()).collect();
    assert_eq!(take(&mut second, 5).await.into_iter().collect::<BTreeSet<_>>(), expected);
    let more = timeout(Duration::from_secs(1), second.receive(10)).await;
    assert!(more.is_err(), "{more:?}");
    second.close().await;
    delete(&url, &topic).await;
}
