// A handler with a policy that returns another type than its message says.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(timeout = "1s")]
async fn quote(_q: &GetQuote) -> Result<bool, String> {
    Ok(true)
}

fn main() {}
