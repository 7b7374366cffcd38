// A version in quotes.
use cqrs::prelude::*;

#[derive(Command)]
#[command(version = "1")]
struct PlaceOrder;

fn main() {}
