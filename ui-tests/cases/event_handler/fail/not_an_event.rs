// A command in an event handler.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[event_handler]
async fn count(_e: &PlaceOrder) {}

fn main() {}
