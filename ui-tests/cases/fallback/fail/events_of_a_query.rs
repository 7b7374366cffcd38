// A query changes nothing, and so does its fallback.
use cqrs::prelude::*;

#[derive(Query)]
struct Find;

#[query_handler(fallback = cached)]
async fn find(_q: &Find) -> Result<(), cqrs::BoxError> {
    Ok(())
}

#[fallback]
async fn cached(_q: &Find, _events: &mut Events) {}

fn main() {}
