// A provider with a receiver.
use cqrs::prelude::*;

struct Shop;

impl Shop {
    #[provider]
    fn prices(&self) -> u64 {
        1
    }
}

fn main() {}
