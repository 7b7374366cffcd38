// A response beside an item: a query answers once or streams.
use cqrs::prelude::*;

#[derive(Query)]
#[query(item = u64, response = u64)]
struct GetTotal;

fn main() {}
