// Protocol Buffers of a type that is none of theirs.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(codec = "protobuf")]
struct OrderPlaced {
    id: u64,
}

fn main() {}
