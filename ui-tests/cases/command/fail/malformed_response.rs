// A response that is no type.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = "u64")]
struct PlaceOrder;

fn main() {}
