// A handler with a const parameter.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order<const N: usize>(_cmd: PlaceOrder) {}

fn main() {}
