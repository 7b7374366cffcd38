// A domain event comes from no topic.
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

#[saga_step(awaits = Paid, by = order, group = "pay", compensate = none)]
async fn confirm(_cx: &mut Checkout, _e: &Paid) {}

fn main() {}
