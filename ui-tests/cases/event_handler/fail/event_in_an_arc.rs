// An event in an `Arc`.
use cqrs::prelude::*;

#[derive(DomainEvent)]
struct OrderPlaced;

#[event_handler]
async fn count(_e: std::sync::Arc<OrderPlaced>) {}

fn main() {}
