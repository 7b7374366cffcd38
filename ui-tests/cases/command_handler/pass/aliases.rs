// Parameters behind aliases: they are recognised by type.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(Command)]
struct PlaceOrder;

type Db = Sqlite;
type Transaction = Tx<Db>;
type Answer<T> = Result<T, cqrs::BoxError>;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _tx: &mut Transaction) -> Answer<()> {
    Ok(())
}

fn main() {}
