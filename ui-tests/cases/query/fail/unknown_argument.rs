// A query has no stored name.
use cqrs::prelude::*;

#[derive(Query)]
#[query(name = "get_total")]
struct GetTotal;

fn main() {}
