// Only the context of a saga is changed by a fallback.
use cqrs::prelude::*;

#[derive(Query)]
struct GetQuote;

#[fallback]
async fn cached(_q: &mut GetQuote) {}

fn main() {}
