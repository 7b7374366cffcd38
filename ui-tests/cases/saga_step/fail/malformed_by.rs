// A pair is of one field each.
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

#[saga_step(awaits = Paid, by = (order, order, order), compensate = none)]
async fn confirm(_cx: &mut Checkout, _e: &Paid) {}

fn main() {}
