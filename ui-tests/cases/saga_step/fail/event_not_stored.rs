// An awaited event is stored until its saga takes it.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [confirm])]
#[derive(Serialize, Deserialize)]
struct Checkout {
    order: u32,
}

#[derive(DomainEvent)]
struct Paid {
    order: u32,
}

#[saga_step(awaits = Paid, by = order, compensate = none)]
async fn confirm(_cx: &mut Checkout, _e: &Paid) {}

fn main() {}
