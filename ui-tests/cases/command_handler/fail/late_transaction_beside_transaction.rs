// A transaction that is open, and the same one to be begun later.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _a: &mut Tx<Sqlite>, _b: &mut Begin<Sqlite>) {}

fn main() {}
