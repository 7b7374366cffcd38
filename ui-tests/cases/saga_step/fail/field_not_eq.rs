// Fields that are compared are `Eq`.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [confirm])]
#[derive(Serialize, Deserialize)]
struct Checkout {
    order: f64,
}

#[derive(DomainEvent, Serialize, Deserialize)]
struct Paid {
    order: f64,
}

#[saga_step(awaits = Paid, by = order, compensate = none)]
async fn confirm(_cx: &mut Checkout, _e: &Paid) {}

fn main() {}
