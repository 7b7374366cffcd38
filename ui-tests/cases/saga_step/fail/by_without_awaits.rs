// `by` is about an event.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [confirm])]
#[derive(Serialize, Deserialize)]
struct Checkout {
    order: u32,
}

#[derive(DomainEvent, Serialize, Deserialize)]
struct Paid {
    order: u32,
}

#[saga_step(by = order, compensate = none)]
async fn confirm(_cx: &mut Checkout) {}

fn main() {}
