// A path to the field.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = self)]
struct OrderPlaced {
    id: u64,
}

fn main() {}
