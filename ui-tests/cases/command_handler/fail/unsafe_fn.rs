// An `unsafe` handler.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async unsafe fn place_order(_cmd: PlaceOrder) {}

fn main() {}
