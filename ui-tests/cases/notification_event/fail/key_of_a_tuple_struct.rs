// A name where the fields have none.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = id)]
struct OrderPlaced(u64);

fn main() {}
