// A version that is made of the one before, which is the first and has the number 0.
use cqrs::prelude::*;
use cqrs::serde::Deserialize;

#[derive(NotificationEvent, Deserialize)]
#[serde(crate = "cqrs::serde")]
#[event(name = "order_placed", version = 0)]
struct OrderPlacedV0(u32);

#[derive(NotificationEvent)]
#[event(name = "order_placed", upgrades = OrderPlacedV0)]
struct OrderPlacedV1(u64);

impl From<OrderPlacedV0> for OrderPlacedV1 {
    fn from(old: OrderPlacedV0) -> Self {
        Self(old.0.into())
    }
}

fn main() {}
