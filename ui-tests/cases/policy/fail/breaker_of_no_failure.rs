// A breaker that opens before the first failure.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(breaker(failures = 0))]
async fn quote(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

fn main() {}
