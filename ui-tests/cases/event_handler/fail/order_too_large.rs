// An order that does not fit.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(order = 3000000000)]
async fn count(_e: &OrderPlaced) {}

fn main() {}
