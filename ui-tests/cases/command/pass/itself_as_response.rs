// A command that answers with itself.
use cqrs::prelude::*;

#[derive(Command, Clone)]
#[command(response = Vec<Self>)]
struct PlaceOrder;

#[command_handler]
async fn place_order(cmd: &PlaceOrder) -> Vec<PlaceOrder> {
    vec![cmd.clone()]
}

fn main() {}
