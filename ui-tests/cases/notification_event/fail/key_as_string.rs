// A field's name in quotes.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = "id")]
struct OrderPlaced {
    id: u64,
}

fn main() {}
