// A version that nothing makes of the one before.
use cqrs::prelude::*;
use cqrs::serde::Deserialize;

#[derive(NotificationEvent, Deserialize)]
#[serde(crate = "cqrs::serde")]
#[event(name = "order_placed")]
struct OrderPlacedV1;

#[derive(NotificationEvent)]
#[event(name = "order_placed", version = 2, upgrades = OrderPlacedV1)]
struct OrderPlacedV2;

fn main() {}
