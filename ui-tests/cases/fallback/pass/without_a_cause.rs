// A fallback that does not ask why, by value, though the query is not `Clone`.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(fallback = cached)]
async fn quote(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

#[fallback]
async fn cached(_q: GetQuote, _rates: Inject<u32>) -> u32 {
    1
}

fn main() {}
