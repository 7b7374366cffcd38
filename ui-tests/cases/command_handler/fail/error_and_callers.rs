// A handler with an error stays a function: what calls it compiles.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler(ordr = 1)]
async fn place_order(_cmd: PlaceOrder) {}

async fn _caller() {
    place_order(PlaceOrder).await;
}

fn main() {}
