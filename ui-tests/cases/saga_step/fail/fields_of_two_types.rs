// Two fields that are equal are of one type.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [confirm])]
#[derive(Serialize, Deserialize)]
struct Checkout {
    order: u32,
}

#[derive(DomainEvent, Serialize, Deserialize)]
struct Paid {
    number: u64,
}

#[saga_step(awaits = Paid, by = (order, number), compensate = none)]
async fn confirm(_cx: &mut Checkout, _e: &Paid) {}

fn main() {}
