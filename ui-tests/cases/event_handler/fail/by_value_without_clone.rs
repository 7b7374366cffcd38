// A domain event by value that is not `Clone`.
use cqrs::prelude::*;

#[derive(DomainEvent)]
struct OrderPlaced;

#[event_handler]
async fn count(_e: OrderPlaced) {}

fn main() {}
