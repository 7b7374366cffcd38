// A fallback whose cause is about another error than its handler's.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(fallback = cached)]
async fn quote(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

#[fallback]
async fn cached(_q: &GetQuote, _cause: Cause<std::io::Error>) -> Result<u32, String> {
    Ok(1)
}

fn main() {}
