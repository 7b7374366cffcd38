// A first parameter without a derive.
use cqrs::prelude::*;

struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
