// A handler with a type parameter.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order<T: Send>(_cmd: PlaceOrder, _prices: Inject<T>) {}

fn main() {}
