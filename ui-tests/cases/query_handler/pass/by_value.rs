// A query by value, with a dependency.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u64)]
struct GetTotal;

#[query_handler]
async fn get_total(_q: GetTotal, total: Inject<u64>) -> u64 {
    *total
}

fn main() {}
