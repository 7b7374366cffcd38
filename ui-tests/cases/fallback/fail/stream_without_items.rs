// The fallback of a streaming handler has no way out for its items.
use cqrs::prelude::*;

#[derive(Query)]
#[query(item = u8)]
struct Rows;

#[query_handler(fallback = cached)]
async fn rows(_q: &Rows, items: &mut Items<u8>) {
    items.send(1).await;
}

#[fallback]
async fn cached(_q: &Rows) {}

fn main() {}
