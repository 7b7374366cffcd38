// An error that is not `Into<cqrs::BoxError>`.
use cqrs::prelude::*;

struct NoPrices;

#[provider]
fn prices() -> Result<u8, NoPrices> {
    Err(NoPrices)
}

fn main() {}
