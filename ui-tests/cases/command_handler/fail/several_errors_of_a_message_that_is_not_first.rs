// The command after a dependency.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_prices: Inject<u8>, _cmd: PlaceOrder) {}

fn main() {}
