// A deprecated message, and no second warning.
#![deny(warnings)]

use cqrs::prelude::*;

#[deprecated]
#[derive(Command)]
struct PlaceOrder;

#[allow(deprecated)]
#[command_handler]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
