// A streaming query.
use cqrs::prelude::*;

#[derive(Query)]
#[query(item = u64)]
struct AllTotals;

#[query_handler]
async fn all_totals(_q: AllTotals, items: &mut Items<u64>) {
    items.send(1).await;
}

fn main() {}
