// A query in a command handler.
use cqrs::prelude::*;

#[derive(Query)]
#[query(response = u64)]
struct GetTotal;

#[command_handler]
async fn get_total(_q: GetTotal) -> u64 {
    0
}

fn main() {}
