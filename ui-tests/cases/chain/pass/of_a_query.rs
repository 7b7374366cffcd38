// A chain for a query, with a link that looks at it only.
use cqrs::prelude::*;

#[derive(Query, Clone)]
#[query(response = u32)]
struct Find;

#[chain_link]
async fn in_memory(q: &Find) -> Link<Find> {
    Link::Pass(q.clone())
}

#[chain_link]
async fn on_disk(_q: Find, meta: &Meta) -> Link<Find> {
    Link::Answer(meta.attempt())
}

cqrs::chain!(Find => [in_memory, on_disk]);

fn main() {}
