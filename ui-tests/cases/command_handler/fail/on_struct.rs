// The attribute on a struct.
use cqrs::prelude::*;

#[command_handler]
struct PlaceOrder;

fn main() {}
