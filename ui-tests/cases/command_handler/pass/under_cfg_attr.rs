// Written by `cfg_attr`.
use cqrs::prelude::*;

#[cfg_attr(all(), derive(Command), command(response = u8))]
struct PlaceOrder;

#[cfg_attr(all(), command_handler)]
async fn place_order(_cmd: PlaceOrder) -> u8 {
    1
}

fn main() {}
