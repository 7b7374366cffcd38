// Two transactions of one database, the second behind an alias.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

type Transaction = Tx<Sqlite>;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _a: &mut Tx<Sqlite>, _b: &mut Transaction) {}

fn main() {}
