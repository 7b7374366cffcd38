// A key whose field cannot be written down.
use cqrs::prelude::*;

struct Id;

#[derive(NotificationEvent)]
#[event(key = id)]
struct OrderPlaced {
    id: Id,
}

fn main() {}
