// The command taken apart in the signature.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = u64)]
struct PlaceOrder {
    amount: u64,
}

#[command_handler]
async fn place_order(PlaceOrder { amount }: PlaceOrder) -> u64 {
    amount
}

fn main() {}
