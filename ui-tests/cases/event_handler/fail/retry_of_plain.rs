// A retry policy on a handler that runs once.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(retry(max = 3))]
async fn count(_e: &OrderPlaced) {}

fn main() {}
