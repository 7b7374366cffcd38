// A generic notification event.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
struct Created<T> {
    _it: T,
}

fn main() {}
