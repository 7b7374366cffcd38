// A generic domain event, handled in a concrete instance.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct Created<T> {
    it: T,
}

#[event_handler]
async fn created(e: Created<u8>) {
    assert_eq!(e.it, 1);
}

fn main() {}
