// The message's metadata, where there is no message.
use cqrs::prelude::*;

#[provider]
fn user(_meta: &Meta) -> u64 {
    1
}

fn main() {}
