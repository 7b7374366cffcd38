// A function with a raw name.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn r#move(_cmd: PlaceOrder) {}

fn main() {}
