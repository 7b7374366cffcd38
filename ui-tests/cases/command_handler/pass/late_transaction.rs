// The late form of a transaction.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _begin: &mut Begin<Sqlite>) {}

fn main() {}
