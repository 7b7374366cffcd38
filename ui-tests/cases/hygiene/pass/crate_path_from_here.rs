// `crate = ..` through a re-export of the user's own.
mod reexport {
    pub use cqrs;
}

use cqrs::prelude::*;

#[derive(Command)]
#[command(crate = crate::reexport::cqrs)]
struct PlaceOrder;

#[command_handler(crate = crate::reexport::cqrs)]
async fn place_order(_cmd: PlaceOrder) {}

fn main() {}
