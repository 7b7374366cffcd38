// Several mistakes in one signature: each is reported once.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler(inline)]
unsafe fn place_order<T>(_cmd: &mut PlaceOrder) {}

fn main() {}
