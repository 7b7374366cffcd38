// A query that sends.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u64)]
struct GetTotal;

#[query_handler]
async fn get_total(_q: GetTotal, _app: &App) -> u64 {
    0
}

fn main() {}
