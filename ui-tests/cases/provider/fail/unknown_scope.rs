// A scope that is none, but nearly.
use cqrs::prelude::*;

#[provider(scope = "mesage")]
fn prices() -> u64 {
    1
}

fn main() {}
