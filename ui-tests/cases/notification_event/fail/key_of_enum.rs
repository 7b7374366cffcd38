// A key on an enum.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = id)]
enum Stocked {
    In { id: u64 },
    Out { id: u64 },
}

fn main() {}
