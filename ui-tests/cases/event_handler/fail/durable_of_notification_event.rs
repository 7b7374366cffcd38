// A notification event for a durable handler.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
struct OrderShipped;

#[event_handler(durable)]
async fn bill(_e: &OrderShipped) {}

fn main() {}
