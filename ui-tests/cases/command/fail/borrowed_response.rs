// A response that borrows.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = &str)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) -> &'static str {
    "placed"
}

fn main() {}
