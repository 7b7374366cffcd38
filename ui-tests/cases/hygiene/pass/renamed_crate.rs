// `crate = ..`, where the crate has another name.
extern crate cqrs as renamed;

use renamed::prelude::*;

#[derive(Command)]
#[command(crate = ::renamed)]
struct PlaceOrder;

#[command_handler(crate = ::renamed)]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
