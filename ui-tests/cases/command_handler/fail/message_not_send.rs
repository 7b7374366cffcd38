// The handler of a command that threads cannot share has no error of its own.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder {
    items: std::rc::Rc<Vec<String>>,
}

#[command_handler]
async fn place_order(cmd: PlaceOrder, events: &mut Events) {
    let _ = (cmd.items, events);
}

fn main() {}
