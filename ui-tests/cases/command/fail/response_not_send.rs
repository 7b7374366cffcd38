// A response that cannot leave its thread.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = std::rc::Rc<u8>)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) -> std::rc::Rc<u8> {
    std::rc::Rc::new(1)
}

fn main() {}
