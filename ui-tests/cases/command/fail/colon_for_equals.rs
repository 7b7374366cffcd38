// A colon between key and value.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response: u8)]
struct PlaceOrder;

fn main() {}
