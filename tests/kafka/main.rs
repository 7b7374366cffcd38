//! Kafka: a real server, or several.

mod conformance;
mod end_to_end;
mod faults;
mod members;
mod support;
mod topics;
