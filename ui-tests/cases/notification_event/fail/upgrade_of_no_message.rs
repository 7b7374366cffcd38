// A version whose earlier one is no message.
use cqrs::prelude::*;

struct OrderPlacedV1;

#[derive(NotificationEvent)]
#[event(name = "order_placed", version = 2, upgrades = OrderPlacedV1)]
struct OrderPlacedV2;

impl From<OrderPlacedV1> for OrderPlacedV2 {
    fn from(_: OrderPlacedV1) -> Self {
        Self
    }
}

fn main() {}
