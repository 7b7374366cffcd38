// A message and its handler inside a function.
use cqrs::prelude::*;

fn main() {
    #[derive(Command)]
    struct PlaceOrder;

    #[command_handler]
    async fn place_order(_cmd: PlaceOrder) {}
}
