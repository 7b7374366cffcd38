// A variable number of arguments, which the compiler refuses as well.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
unsafe extern "C" fn place_order(_cmd: PlaceOrder, _: ...) {}

fn main() {}
