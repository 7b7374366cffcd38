// An event handler that answers.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler]
async fn count(_e: &OrderPlaced) -> u64 {
    1
}

fn main() {}
