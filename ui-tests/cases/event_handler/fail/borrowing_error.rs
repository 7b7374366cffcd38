// A boxed error that may borrow from the event.
use cqrs::prelude::*;

#[derive(DomainEvent)]
struct OrderPlaced;

#[event_handler]
async fn count<'a>(_e: &'a OrderPlaced) -> Result<(), Box<dyn std::error::Error + 'a>> {
    Ok(())
}

fn main() {}
