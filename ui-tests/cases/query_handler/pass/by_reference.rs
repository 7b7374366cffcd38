// A query by reference, with its metadata.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u64)]
struct GetTotal;

#[query_handler]
async fn get_total(_q: &GetTotal, meta: &Meta) -> Result<u64, std::num::ParseIntError> {
    meta.key().unwrap_or("0").parse()
}

fn main() {}
