// An inline handler in its command's transaction.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(inline, order = -10)]
async fn count(_e: OrderPlaced, _tx: &mut Tx<Sqlite>) -> Result<(), cqrs::sqlx::Error> {
    Ok(())
}

fn main() {}
