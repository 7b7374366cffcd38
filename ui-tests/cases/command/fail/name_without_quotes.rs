// A name that is no string.
use cqrs::prelude::*;

#[derive(Command)]
#[command(name = place_order)]
struct PlaceOrder;

fn main() {}
