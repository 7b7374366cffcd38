// `Option<R>` where the response is `R`.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = u64)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) -> Option<u64> {
    None
}

fn main() {}
