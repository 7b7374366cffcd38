// A domain event with a key, which its durable handlers keep the order of.
use cqrs::prelude::*;

#[derive(DomainEvent)]
#[event(key = id, name = "order_placed", version = 2)]
struct OrderPlaced {
    id: u64,
}

fn main() {}
