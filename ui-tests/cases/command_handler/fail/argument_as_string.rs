// Something in quotes for an argument.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler("place_order")]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
