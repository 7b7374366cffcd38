// A plain event handler has no transaction, and its fallback none either.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(DomainEvent)]
struct Paid;

#[event_handler(fallback = by_hand)]
async fn mail(_e: &Paid) -> Result<(), cqrs::BoxError> {
    Ok(())
}

#[fallback]
async fn by_hand(_e: &Paid, _tx: &mut Tx<Sqlite>) {}

fn main() {}
