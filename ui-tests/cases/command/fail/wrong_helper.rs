// The attribute of another derive.
use cqrs::prelude::*;

#[derive(Command)]
#[event(name = "place_order")]
struct PlaceOrder;

fn main() {}
