// A query that raises events.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u64)]
struct GetTotal;

#[query_handler]
async fn get_total(_q: GetTotal, _events: &mut Events) -> u64 {
    0
}

fn main() {}
