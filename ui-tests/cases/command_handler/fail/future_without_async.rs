// A function that is async in the long form.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
fn place_order(_cmd: PlaceOrder) -> impl Future<Output = ()> + Send {
    async {}
}

fn main() {}
