// A number in quotes.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
struct OrderPlaced;

#[event_handler(group = "billing", batch = "100")]
async fn bill(_e: &OrderPlaced) {}

fn main() {}
