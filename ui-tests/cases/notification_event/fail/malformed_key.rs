// A key as a string.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = "id")]
struct OrderPlaced {
    _id: u64,
}

fn main() {}
