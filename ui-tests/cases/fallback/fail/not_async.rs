// A wrong fallback is one error: a path to it is none.
use cqrs::prelude::*;

#[derive(Query)]
struct GetQuote;

#[query_handler(fallback = cached)]
async fn quote(_q: &GetQuote) -> Result<(), cqrs::BoxError> {
    Ok(())
}

#[fallback]
fn cached(_q: &GetQuote) -> Result<(), cqrs::BoxError> {
    Ok(())
}

fn main() {}
