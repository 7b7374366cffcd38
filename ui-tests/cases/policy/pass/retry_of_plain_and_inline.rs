// Retries of event handlers whose work is not stored: within the call.
use cqrs::prelude::*;

#[derive(DomainEvent)]
struct Paid;

#[event_handler(retry(max = 3))]
async fn mail(_e: &Paid) -> Result<(), String> {
    Ok(())
}

#[event_handler(inline, retry(max = 2, first = "1ms"), breaker)]
async fn count(_e: &Paid) -> Result<(), cqrs::BoxError> {
    Ok(())
}

fn main() {}
