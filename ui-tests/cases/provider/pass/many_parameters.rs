// As many dependencies as it likes.
use cqrs::prelude::*;

#[provider]
async fn total(
    a: Inject<u8>,
    b: Inject<u16>,
    c: Inject<u32>,
    _d: Inject<i8>,
    _e: Inject<i16>,
    _f: Inject<i32>,
    _g: Inject<i64>,
) -> u64 {
    u64::from(*a) + u64::from(*b) + u64::from(*c)
}

fn main() {}
