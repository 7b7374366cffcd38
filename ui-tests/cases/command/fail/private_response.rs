// A private type as the response of a public command.
use cqrs::prelude::*;

struct OrderId(u64);

#[derive(Command)]
#[command(response = OrderId)]
pub struct PlaceOrder;

fn main() {}
