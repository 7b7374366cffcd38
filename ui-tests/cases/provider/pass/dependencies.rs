// A provider that needs others.
use cqrs::prelude::*;

#[provider]
async fn total(a: Inject<u8>, b: Inject<u16>) -> u64 {
    u64::from(*a) + u64::from(*b)
}

fn main() {}
