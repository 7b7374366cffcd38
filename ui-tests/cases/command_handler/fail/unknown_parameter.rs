// A parameter that is nothing the framework can give.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _prices: Vec<u64>) {}

fn main() {}
