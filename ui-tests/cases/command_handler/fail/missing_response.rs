// No return type where the command has a response.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = u64)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
