// An error that is `Into` the message's.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) -> Result<(), std::io::Error> {
    Ok(())
}

fn main() {}
