// Every argument.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(name = "order_placed", topic = "orders", key = id, version = 1)]
struct OrderPlacedV1 {
    id: u64,
}

fn main() {}
