// A pattern of another type than the handler's error.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(fallback = cached, on = [Some(_)])]
async fn quote(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

#[fallback]
async fn cached(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

fn main() {}
