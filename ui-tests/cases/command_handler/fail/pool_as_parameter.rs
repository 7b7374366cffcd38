// A pool that is no dependency.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _pool: &cqrs::sqlx::SqlitePool) {}

fn main() {}
