// A future that holds an `Rc` across an `await`.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

async fn other() {}

#[command_handler]
async fn place_order(_cmd: PlaceOrder) {
    let shared = std::rc::Rc::new(1);
    other().await;
    drop(shared);
}

fn main() {}
