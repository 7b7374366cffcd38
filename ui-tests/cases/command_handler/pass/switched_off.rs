// A handler under a `cfg` that does not hold is not registered.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
#[cfg(any())]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
