// A fallback takes the context of its step.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(compensate = none, fallback = by_hand)]
async fn notify(_cx: &Checkout) -> Result<(), cqrs::BoxError> {
    Ok(())
}

#[fallback]
async fn by_hand(_cx: &Order) {}

#[derive(DomainEvent)]
struct Order;

fn main() {}
