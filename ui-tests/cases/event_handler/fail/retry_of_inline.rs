// A retry policy on a handler that is part of its command.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(inline, retry(max = 3))]
async fn count(_e: &OrderPlaced) {}

fn main() {}
