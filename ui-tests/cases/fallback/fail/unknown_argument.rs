// An argument that belongs to the handler.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[fallback(timeout = "1s")]
async fn cached(_q: &GetQuote) -> u32 {
    1
}

fn main() {}
