// The command as `&mut`.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: &mut PlaceOrder) {}

fn main() {}
