// `fallback` names a function without `#[fallback]`.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(fallback = cached)]
async fn quote(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

async fn cached(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

fn main() {}
