// A duration without its unit.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, retry(first = "10"))]
async fn count(_e: &OrderPlaced) {}

fn main() {}
