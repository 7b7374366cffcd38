// A fallback in a string.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(fallback = "cached")]
async fn quote(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

fn main() {}
