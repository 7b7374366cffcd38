// A wrong handler that a macro writes: the type is blamed where the macro is called.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = u64)]
struct PlaceOrder;

macro_rules! handler {
    ($name:ident, $message:ty, $response:ty) => {
        #[command_handler]
        async fn $name(_cmd: $message) -> $response {
            todo!()
        }
    };
}

handler!(place_order, PlaceOrder, String);

fn main() {}
