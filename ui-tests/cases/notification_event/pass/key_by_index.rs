// The key of a tuple struct.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = 1)]
struct OrderPlaced(Vec<u8>, String);

fn main() {}
