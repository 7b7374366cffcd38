// A word that takes no value.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(inline = true)]
async fn count(_e: &OrderPlaced) {}

fn main() {}
