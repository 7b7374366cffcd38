// A deprecated message, and no second warning.
#![deny(deprecated)]

use cqrs::prelude::*;

#[deprecated]
#[derive(Command)]
struct PlaceOrder;

#[expect(deprecated, reason = "the one use")]
#[command_handler]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
