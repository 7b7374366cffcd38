// A link of a query's chain that raises events.
use cqrs::prelude::*;

#[derive(Query)]
struct Find;

#[chain_link]
async fn in_memory(q: Find, _events: &mut Events) -> Link<Find> {
    Link::Pass(q)
}

fn main() {}
