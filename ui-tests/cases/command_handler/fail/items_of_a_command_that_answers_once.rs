// Items where the command does not stream.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _items: &mut Items<u64>) {}

fn main() {}
