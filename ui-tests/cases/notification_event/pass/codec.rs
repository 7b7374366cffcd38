// Every way to be written.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(codec = "json")]
struct AsJson;

#[derive(NotificationEvent)]
#[event(codec = "cloudevents")]
struct AsCloudEvent;

#[derive(NotificationEvent, Clone, PartialEq, prost::Message)]
#[event(codec = "protobuf", key = id)]
struct AsProtobuf {
    #[prost(string, tag = "1")]
    id: String,
}

fn main() {}
