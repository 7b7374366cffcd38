// A fallback that takes another message than its handler.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[derive(Query)]
struct GetRate;

#[query_handler(fallback = cached)]
async fn quote(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

#[fallback]
async fn cached(_q: &GetRate) -> Result<u32, String> {
    Ok(1)
}

fn main() {}
