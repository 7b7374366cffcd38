// A plain handler.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler]
async fn count(_e: &OrderPlaced) {}

fn main() {}
