// One function for two groups.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
struct OrderPlaced;

#[event_handler(group = "billing")]
#[event_handler(group = "shipping")]
async fn count(_e: &OrderPlaced) {}

fn main() {}
