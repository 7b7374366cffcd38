// A breaker as a number.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(breaker = 5)]
async fn quote(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

fn main() {}
