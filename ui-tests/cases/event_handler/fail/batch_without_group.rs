// A batch of a durable handler.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, batch = 100)]
async fn count(_e: &OrderPlaced) {}

fn main() {}
