// A durable handler with its retry policy.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, retry(max = 8, first = "250ms", factor = 2.0, ceiling = "1h"))]
async fn mail(_e: &OrderPlaced) -> Result<(), std::io::Error> {
    Ok(())
}

fn main() {}
