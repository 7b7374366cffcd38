// A codec of an event that stays in the service.
use cqrs::prelude::*;

#[derive(DomainEvent)]
#[event(codec = "cloudevents")]
struct OrderPlaced;

fn main() {}
