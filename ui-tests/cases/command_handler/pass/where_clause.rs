// A `where` clause about nothing generic.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder)
where
    u8: Copy,
{
}

fn main() {}
