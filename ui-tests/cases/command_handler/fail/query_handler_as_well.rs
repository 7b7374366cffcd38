// A function that is to be two handlers.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
#[cqrs::query_handler]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
