// A response that borrows what is there for ever.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = &'static str, error = &'static str)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) -> Result<&'static str, &'static str> {
    Ok("placed")
}

fn main() {}
