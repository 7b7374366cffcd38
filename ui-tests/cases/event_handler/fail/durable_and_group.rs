// Two modes at once, one of them a group.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, group = "billing")]
async fn count(_e: &OrderPlaced) {}

fn main() {}
