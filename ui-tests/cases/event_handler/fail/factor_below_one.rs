// Pauses that shrink.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, retry(factor = 0.5))]
async fn count(_e: &OrderPlaced) {}

fn main() {}
