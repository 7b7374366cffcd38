// Lifetimes with names.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order<'a, 'b: 'a>(_cmd: &'a PlaceOrder, _meta: &'b Meta, _events: &'a mut Events) {}

fn main() {}
