// The handler of a command that borrows has no error of its own.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder<'a> {
    item: &'a str,
}

#[command_handler]
async fn place_order(cmd: PlaceOrder<'_>) {
    let _ = cmd.item;
}

fn main() {}
