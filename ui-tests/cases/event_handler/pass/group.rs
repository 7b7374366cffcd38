// A consumed event, by value without `Clone`.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
struct OrderShipped;

#[event_handler(
    group = "billing",
    topic = "orders",
    concurrency = 8,
    batch = 50,
    on_dead = "park",
    unknown = "skip",
    retry(max = 3),
)]
async fn bill(_e: OrderShipped, _meta: &Meta) {}

fn main() {}
