// A streaming query whose handler has no way out for its items.
use cqrs::prelude::*;

#[derive(Query)]
#[query(item = u32)]
struct Rows;

#[query_handler(timeout = "1s")]
async fn rows(_q: &Rows, _meta: &Meta) {}

fn main() {}
