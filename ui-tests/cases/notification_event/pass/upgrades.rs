// Versions that become one another, one after the other.
use cqrs::prelude::*;
use cqrs::serde::{Deserialize, Serialize};

#[derive(NotificationEvent, Serialize, Deserialize)]
#[serde(crate = "cqrs::serde")]
#[event(name = "order_placed", version = 0)]
struct OrderPlacedV0 {
    id: u64,
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[serde(crate = "cqrs::serde")]
#[event(name = "order_placed", upgrades = OrderPlacedV0)]
struct OrderPlacedV1 {
    id: u64,
    total: u64,
}

impl From<OrderPlacedV0> for OrderPlacedV1 {
    fn from(old: OrderPlacedV0) -> Self {
        Self { id: old.id, total: 0 }
    }
}

#[derive(DomainEvent, Serialize, Deserialize)]
#[serde(crate = "cqrs::serde")]
#[event(name = "counted")]
struct CountedV1(u32);

#[derive(DomainEvent, Serialize, Deserialize)]
#[serde(crate = "cqrs::serde")]
#[event(name = "counted", version = 2, upgrades = CountedV1)]
struct CountedV2(u64);

impl From<CountedV1> for CountedV2 {
    fn from(old: CountedV1) -> Self {
        Self(old.0.into())
    }
}

fn main() {}
