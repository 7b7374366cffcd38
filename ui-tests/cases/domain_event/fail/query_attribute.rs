// The attribute of a query on an event.
use cqrs::prelude::*;

#[derive(DomainEvent)]
#[query(response = u64)]
struct OrderPlaced;

fn main() {}
