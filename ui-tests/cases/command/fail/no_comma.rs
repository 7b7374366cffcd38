// Two arguments without a comma between them.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = u8 error = String)]
struct PlaceOrder;

fn main() {}
