// A fallback whose error borrows.
use cqrs::prelude::*;

#[derive(Query)]
struct GetQuote(String);

#[query_handler(fallback = cached)]
async fn quote(_q: &GetQuote) -> Result<(), cqrs::BoxError> {
    Ok(())
}

#[fallback]
async fn cached(q: &GetQuote) -> Result<(), &str> {
    Err(&q.0)
}

fn main() {}
