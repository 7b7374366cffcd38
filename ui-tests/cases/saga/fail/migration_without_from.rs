// Nothing says how the earlier version becomes this one.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(name = "checkout", retired)]
#[derive(Serialize, Deserialize)]
struct CheckoutV1;

#[saga(name = "checkout", version = 2, migrates = CheckoutV1, steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

fn main() {}
