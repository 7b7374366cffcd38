// A topic on an event that stays in the service.
use cqrs::prelude::*;

#[derive(DomainEvent)]
#[event(topic = "orders")]
struct OrderPlaced;

fn main() {}
