// A link that returns the answer itself.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

#[chain_link]
async fn by_card(_cmd: Pay) -> Result<u32, cqrs::BoxError> {
    Ok(1)
}

fn main() {}
