// An empty stored name.
use cqrs::prelude::*;

#[derive(Command)]
#[command(name = "")]
struct PlaceOrder;

fn main() {}
