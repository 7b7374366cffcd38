// A command that is borrowed for ever.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: &'static PlaceOrder) {}

fn main() {}
