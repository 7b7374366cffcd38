// A number in quotes.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
struct OrderPlaced;

#[event_handler(group = "billing", concurrency = "8")]
async fn bill(_e: &OrderPlaced) {}

fn main() {}
