// A handler stays an ordinary function.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, events: &mut Events) {
    let _ = events;
}

async fn _test() {
    place_order(PlaceOrder, &mut Events::new()).await;
}

fn main() {}
