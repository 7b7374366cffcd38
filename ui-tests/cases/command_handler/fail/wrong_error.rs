// An error that is not `Into` the message's.
use cqrs::prelude::*;

#[derive(Command)]
#[command(error = std::io::Error)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) -> Result<(), u8> {
    Err(1)
}

fn main() {}
