// A boxed error that cannot leave its thread.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}

fn main() {}
