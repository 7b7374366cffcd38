// A response as `impl Trait`.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) -> impl Sized {}

fn main() {}
