// Several mistakes in one attribute: each is reported, and the type is a command nevertheless.
use cqrs::prelude::*;

#[derive(Command)]
#[command(nam = "place", version = "1", respons = u64)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
