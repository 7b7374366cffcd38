// A message by value, which a second attempt could not be given.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(retry(max = 2))]
async fn quote(_q: GetQuote) -> Result<u32, String> {
    Ok(1)
}

fn main() {}
