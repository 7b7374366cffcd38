// A word that `on_dead` does not know, but nearly.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
struct OrderShipped;

#[event_handler(group = "billing", on_dead = "prak")]
async fn bill(_e: &OrderShipped) {}

fn main() {}
