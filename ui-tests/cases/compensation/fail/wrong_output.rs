// A compensation returns nothing besides its error.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[compensation]
async fn release(_cx: &mut Checkout) -> u64 {
    1
}

fn main() {}
