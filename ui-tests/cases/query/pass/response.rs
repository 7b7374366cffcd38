// A query with a response.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = Option<u64>)]
struct GetTotal;

fn main() {}
