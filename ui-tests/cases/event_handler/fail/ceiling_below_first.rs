// A longest pause below the first one.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, retry(first = "1m", ceiling = "10s"))]
async fn count(_e: &OrderPlaced) {}

fn main() {}
