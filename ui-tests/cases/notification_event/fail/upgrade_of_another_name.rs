// A version of another event.
use cqrs::prelude::*;
use cqrs::serde::Deserialize;

#[derive(NotificationEvent, Deserialize)]
#[serde(crate = "cqrs::serde")]
#[event(name = "order_paid")]
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
