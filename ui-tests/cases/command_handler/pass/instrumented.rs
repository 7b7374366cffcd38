// Beside the attribute of `tracing`, in either order.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;
#[derive(Command)]
struct PayOrder;

#[command_handler]
#[tracing::instrument(skip_all)]
async fn place_order(_cmd: PlaceOrder, _events: &mut Events) {}

#[tracing::instrument(skip_all)]
#[command_handler]
async fn pay_order(_cmd: &PayOrder) {}

fn main() {}
