// A key that is no field, but nearly.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = custmer)]
struct OrderPlaced {
    _id: u64,
    customer: String,
}

fn main() {}
