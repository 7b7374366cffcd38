// A handler with an ABI of its own.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async extern "C" fn place_order(_cmd: PlaceOrder) {}

fn main() {}
