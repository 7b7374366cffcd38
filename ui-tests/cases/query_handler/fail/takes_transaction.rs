// A query in a transaction.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(Query)]
#[query(response = u64)]
struct GetTotal;

#[query_handler]
async fn get_total(_q: GetTotal, _tx: &mut Tx<Sqlite>) -> u64 {
    0
}

fn main() {}
