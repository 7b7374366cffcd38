// Arguments spread over two attributes, with a trailing comma.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = u64,)]
#[command(error = String)]
struct PlaceOrder;

fn main() {}
