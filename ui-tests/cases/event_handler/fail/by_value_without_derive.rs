// An event by value, which is no event yet.
use cqrs::prelude::*;

struct OrderPlaced;

#[event_handler]
async fn count(_e: OrderPlaced) {}

fn main() {}
