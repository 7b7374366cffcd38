// A return type that is not the response.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = u64)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) -> Result<String, cqrs::BoxError> {
    Ok(String::new())
}

fn main() {}
