// A handler written by a macro.
use cqrs::prelude::*;

macro_rules! handler {
    ($name:ident, $message:ty) => {
        #[command_handler]
        async fn $name(_cmd: $message, _events: &mut Events) {}
    };
}

#[derive(Command)]
struct PlaceOrder;

handler!(place_order, PlaceOrder);

fn main() {}
