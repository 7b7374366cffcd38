// A fallback that answers with another type than its handler.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(fallback = cached)]
async fn quote(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

#[fallback]
async fn cached(_q: &GetQuote) -> Result<bool, String> {
    Ok(true)
}

fn main() {}
