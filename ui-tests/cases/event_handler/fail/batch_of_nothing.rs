// A batch of no messages.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
struct OrderPlaced;

#[event_handler(group = "billing", batch = 0)]
async fn bill(_e: &OrderPlaced) {}

fn main() {}
