//! Topics that somebody else sees to, and has not seen to yet.

use std::time::Duration;

use cqrs_tests::services;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::program;
use crate::world::{ALL, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g10_what_is_raised_for_a_topic_that_is_missing_waits_until_there_is_one() {
    let mut world = World::new(&services::postgres_url(), &services::kafka_url(), 12).await;
    world.environment.push((program::LEAVES.into(), "yes".into()));
    let process = world.start(ALL, None);
    world.reaches("SELECT COUNT(*) FROM raised", 12).await;
    world.reaches("SELECT COUNT(*) FROM cqrs_outbox WHERE attempts > 1", 1).await;
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
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}
