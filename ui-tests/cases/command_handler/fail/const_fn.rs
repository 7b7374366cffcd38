// A `const` handler.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
const fn place_order(_cmd: PlaceOrder) {}

fn main() {}
