// Nor has one that takes the command by reference, with a policy or without.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder {
    retries: std::cell::Cell<u8>,
}

#[command_handler(retry(max = 2))]
async fn place_order(cmd: &PlaceOrder) {
    cmd.retries.set(1);
}

fn main() {}
