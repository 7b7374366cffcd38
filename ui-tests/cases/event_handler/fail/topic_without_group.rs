// A topic without a group.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(topic = "orders")]
async fn count(_e: &OrderPlaced) {}

fn main() {}
