//! Kafka: keys and headers are bytes.

use std::time::Duration;

use cqrs_tests::services;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::Bad;

pub async fn publish(topic: &str, all: Vec<Bad>) -> usize {
    let servers = services::kafka_url().trim_start_matches("kafka://").to_owned();
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    for bad in &all {
        let headers = bad
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_ref() }));
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).headers(headers);
        record.key = bad.key.as_deref();
        record.payload = bad.payload.as_deref();
        let sent = producer.send(record, Duration::from_secs(60)).await;
        assert!(sent.is_ok(), "{}: {sent:?}", bad.what);
    }
    all.len()
}
