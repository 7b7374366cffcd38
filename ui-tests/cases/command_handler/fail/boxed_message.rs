// The command in a box.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: Box<PlaceOrder>) {}

fn main() {}
