// A handler with a receiver.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

struct Orders;

impl Orders {
    #[command_handler]
    async fn place_order(&self, _cmd: PlaceOrder) {}
}

fn main() {}
