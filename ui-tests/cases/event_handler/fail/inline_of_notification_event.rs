// A notification event for an inline handler.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
struct OrderShipped;

#[event_handler(inline, timeout = "1s")]
async fn bill(_e: &OrderShipped) {}

fn main() {}
