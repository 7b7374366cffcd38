// `on` without anything that asks which errors count.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u32, error = String)]
struct GetQuote;

#[query_handler(on = ["down"])]
async fn quote(_q: &GetQuote) -> Result<u32, String> {
    Ok(1)
}

fn main() {}
