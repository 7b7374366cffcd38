// A concurrency on a durable handler.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, concurrency = 4)]
async fn count(_e: &OrderPlaced) {}

fn main() {}
