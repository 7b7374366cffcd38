//! Topics that are made when they are used first.

use std::num::NonZeroU16;

use cqrs::Broker;
use cqrs_tests::kafka;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::support::{PATIENCE, join, publish_one, random};

fn partitions_of(topic: &str) -> usize {
    let servers = kafka::url().trim_start_matches("kafka://").to_owned();
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", servers).create().expect("a client");
    let known = client.fetch_metadata(Some(topic), PATIENCE).expect("an answer");
    known.topics()[0].partitions().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_has_as_many_partitions_as_were_set_and_one_that_is_there_keeps_its_own() {
    let with = |count| {
        let broker = Broker::url(kafka::url()).partitions(NonZeroU16::new(count).expect("some"));
        broker.connect().expect("a sound URL")
    };
    let (three, seven) = (with(3), with(7));
    let (published, subscribed) = (random("topic"), random("topic"));
    assert_eq!(publish_one(&*three, &published, "a", "1").await, Ok(()));
    join(&*seven, &random("group"), &subscribed, 1).await.close().await;
    for _ in 0..2 {
        assert_eq!(partitions_of(&published), 3);
        assert_eq!(partitions_of(&subscribed), 7);
        assert_eq!(publish_one(&*seven, &published, "a", "2").await, Ok(()));
        assert_eq!(publish_one(&*three, &subscribed, "a", "2").await, Ok(()));
    }
    three.close().await;
    seven.close().await;
}
