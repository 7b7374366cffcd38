//! Kafka: a real server, or several.

mod conformance;
