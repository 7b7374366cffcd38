// A version below 1.
use cqrs::prelude::*;

#[derive(Command)]
#[command(version = 0)]
struct PlaceOrder;

fn main() {}
