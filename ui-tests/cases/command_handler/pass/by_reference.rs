// The command by reference.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: &PlaceOrder) {}

fn main() {}
