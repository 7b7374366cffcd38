// An event goes to several handlers: a fallback that keeps it needs a copy.
use cqrs::prelude::*;

#[derive(DomainEvent)]
struct Paid;

#[event_handler(fallback = by_hand)]
async fn mail(_e: &Paid) -> Result<(), cqrs::BoxError> {
    Ok(())
}

#[fallback]
async fn by_hand(_e: Paid) {}

fn main() {}
