//! Topics that somebody else sees to, and has not seen to yet.

use std::num::NonZeroU16;
use std::time::Duration;

use cqrs::Broker;
use cqrs::broker::driver::{Driver as _, Subscription};
use cqrs_tests::services;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::named::Named;
use crate::program;
use crate::world::{ALL, World};

const STEPS: i32 = 12;

/// What is raised waits, with an error that says what is missing, until somebody has made it.
async fn is_missing(store: &str, broker: &str, says: &'static str, make: impl AsyncFnOnce(&World)) {
    let mut world = World::new(store, broker, STEPS).await;
    world.environment.push((program::LEAVES.into(), "yes".into()));
    let process = world.start(ALL, None);
    world.reaches("SELECT COUNT(*) FROM raised", STEPS.into()).await;
    world.reaches("SELECT COUNT(*) FROM cqrs_outbox WHERE attempts > 1", 1).await;
    assert_eq!(world.count("SELECT COUNT(*) FROM diary").await, 0);
    assert_eq!(world.count("SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead'").await, 0);
    let told = world.column("cqrs_outbox", "error").await;
    assert!(told.contains(says), "`{says}` is in no error: {told}");
    make(&world).await;
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

/// As a program does that may declare: what its groups have of their topics.
async fn declare(world: &World, broker: &str) {
    let broker = Broker::url(broker).partitions(NonZeroU16::new(4).unwrap()).connect().unwrap();
    let broker = Named { broker, name: world.on_broker(""), most: usize::MAX };
    for (group, topic) in [("index", "notes"), ("diary", "steps")] {
        let member = broker
            .subscribe(Subscription { group: group.to_owned(), topics: vec![topic.to_owned()], prefetch: 1 })
            .await
            .unwrap();
        member.close().await;
    }
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g10_what_is_raised_for_a_topic_that_is_missing_waits_until_there_is_one() {
    is_missing(&services::postgres_url(), &services::kafka_url(), "Kafka has no topic `", async |world| {
        let servers = services::kafka_url().trim_start_matches("kafka://").to_owned();
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
        for topic in ["steps", "notes"] {
            let name = world.on_broker(topic);
            let topic = NewTopic::new(&name, 4, TopicReplication::Fixed(1));
            let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(60)));
            let created = admin.create_topics([&topic], &options).await.unwrap();
            assert!(created[0].is_ok(), "{created:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g10_what_is_raised_for_an_exchange_that_is_missing_waits_until_there_is_one() {
    let broker = services::amqp_url();
    is_missing(&services::mysql_url(), &broker, "no exchange '", async |world| declare(world, &broker).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g10_what_is_raised_for_a_stream_that_is_missing_waits_until_there_is_one() {
    let broker = services::nats_url();
    // Where groups keep their positions: without it a program that makes nothing does not start.
    let elsewhere = World::new("sqlite", &broker, 0).await;
    declare(&elsewhere, &broker).await;
    is_missing("sqlite", &broker, "no stream takes the topic `", async |world| declare(world, &broker).await).await;
    elsewhere.end().await;
}
