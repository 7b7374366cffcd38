// A key by index, past the last field.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = 1)]
struct OrderPlaced(u64);

fn main() {}
