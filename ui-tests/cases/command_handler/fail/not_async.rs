// A handler that is not `async`.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
fn place_order(_cmd: PlaceOrder) {}

fn main() {}
