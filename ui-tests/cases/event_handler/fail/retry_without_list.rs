// A retry policy as a number.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, retry = 3)]
async fn count(_e: &OrderPlaced) {}

fn main() {}
