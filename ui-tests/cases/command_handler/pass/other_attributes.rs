// Beside attributes and comments of other kinds.
use cqrs::prelude::*;

/// Places an order.
#[derive(Command)]
/// Answers with its number.
#[command(response = u64)] // the number
struct PlaceOrder;

/// Places it.
#[must_use]
#[command_handler]
#[inline]
/// At once.
#[deprecated]
async fn place_order(_cmd: PlaceOrder, #[expect(unused, reason = "a case")] prices: Inject<u8>) -> u64 {
    1
}

fn main() {}
