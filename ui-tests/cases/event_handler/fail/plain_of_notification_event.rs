// A notification event without a group.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
struct OrderShipped;

#[event_handler]
async fn bill(_e: &OrderShipped) {}

fn main() {}
