// A transaction by value.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _tx: Tx<Sqlite>) {}

fn main() {}
