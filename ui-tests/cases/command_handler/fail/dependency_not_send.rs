// A dependency whose trait does not ask for `Send + Sync`.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

trait Prices {}

#[command_handler]
async fn place_order(_cmd: PlaceOrder, _prices: Inject<dyn Prices>) {}

fn main() {}
