// A transaction after the commit.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler]
async fn count(_e: &OrderPlaced, _tx: &mut Tx<Sqlite>) {}

fn main() {}
