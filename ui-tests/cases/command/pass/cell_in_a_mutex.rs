// A cell behind a lock.
use cqrs::prelude::*;
use std::sync::Mutex;

#[derive(Command)]
struct PlaceOrder {
    retries: Mutex<std::cell::Cell<u8>>,
}

#[command_handler]
async fn place_order(cmd: &PlaceOrder) {
    drop(cmd.retries.lock());
}

fn main() {}
