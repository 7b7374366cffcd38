// The attribute twice.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
#[command_handler]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
