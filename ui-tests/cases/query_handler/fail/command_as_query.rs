// A command in a query handler.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[query_handler]
async fn place_order(_q: PlaceOrder) {}

fn main() {}
