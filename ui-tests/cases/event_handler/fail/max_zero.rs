// A retry policy without a single call.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, retry(max = 0))]
async fn count(_e: &OrderPlaced) {}

fn main() {}
