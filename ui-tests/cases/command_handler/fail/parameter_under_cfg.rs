// A parameter that is there only sometimes.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, #[cfg(all())] _events: &mut Events) {}

fn main() {}
