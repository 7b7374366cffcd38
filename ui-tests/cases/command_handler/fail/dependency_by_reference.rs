// A reference to a dependency.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _prices: &Inject<u8>) {}

fn main() {}
