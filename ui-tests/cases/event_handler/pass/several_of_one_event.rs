// Several handlers of one event.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(order = 1)]
async fn first(_e: &OrderPlaced) {}

#[event_handler(order = 2)]
async fn second(_e: OrderPlaced, _app: &App) {}

fn main() {}
