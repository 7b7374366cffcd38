// A boxed error that may borrow from the command.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: &PlaceOrder) -> Result<(), Box<dyn std::error::Error + Send + Sync + '_>> {
    Ok(())
}

fn main() {}
