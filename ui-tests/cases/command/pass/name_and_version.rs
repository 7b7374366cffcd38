// A stored name and version.
use cqrs::prelude::*;

#[derive(Command)]
#[command(name = "place_order", version = 2)]
struct PlaceOrder;

fn main() {}
