// Two transactions of one database, the second by its path.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _a: &mut Tx<Sqlite>, _b: &mut cqrs::prelude::Tx<cqrs::sqlx::Sqlite>) {}

fn main() {}
