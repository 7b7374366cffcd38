// A duration of more than a hundred years.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, retry(ceiling = "40000d"))]
async fn count(_e: &OrderPlaced) {}

fn main() {}
