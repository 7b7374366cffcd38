// A field that only one thread at a time may look at.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder {
    retries: std::cell::Cell<u8>,
}

fn main() {}
