// A response that is a `Result` itself.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = Result<u64, String>)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) -> Result<u64, String> {
    Ok(1)
}

fn main() {}
