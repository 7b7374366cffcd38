// A duration without a unit.
use cqrs::prelude::*;

#[derive(DomainEvent)]
struct OrderPlaced;

#[event_handler(retry(first = 5))]
async fn count(_e: &OrderPlaced) {}

fn main() {}
