// A query that threads cannot share, its handler and its fallback: one error.
use cqrs::prelude::*;

#[derive(Query)]
struct GetQuote(std::rc::Rc<u8>);

#[query_handler(fallback = cached)]
async fn quote(_q: &GetQuote) -> Result<(), cqrs::BoxError> {
    Ok(())
}

#[fallback]
async fn cached(_q: &GetQuote) -> Result<(), cqrs::BoxError> {
    Ok(())
}

fn main() {}
