// An argument that belongs to event handlers.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler(order = 1)]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
