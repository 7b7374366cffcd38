// A domain event with a group.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(group = "billing")]
async fn count(_e: &OrderPlaced) {}

fn main() {}
