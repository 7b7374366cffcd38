// A boxed error that cannot leave its thread.
use cqrs::prelude::*;

#[derive(DomainEvent)]
struct OrderPlaced;

#[event_handler]
async fn count(_e: &OrderPlaced) -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}

fn main() {}
