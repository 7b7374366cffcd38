// Two modes at once.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(inline, durable)]
async fn count(_e: &OrderPlaced) {}

fn main() {}
