// An order that is no number.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(order = "first")]
async fn count(_e: &OrderPlaced) {}

fn main() {}
