// Six parameters, one more than are taken by a function of their own.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = usize)]
struct Count(String);

#[query_handler]
async fn count(
    q: &Count,
    _a: Inject<u8>,
    _b: Inject<u16>,
    _c: Inject<u32>,
    _d: Inject<u64>,
    _e: Inject<i8>,
    _meta: &Meta,
) -> Result<usize, &'static str> {
    Ok(q.0.len())
}

fn main() {}
