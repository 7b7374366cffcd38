// An argument that `retry(..)` does not know, but nearly.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, retry(cieling = "5m"))]
async fn count(_e: &OrderPlaced) {}

fn main() {}
