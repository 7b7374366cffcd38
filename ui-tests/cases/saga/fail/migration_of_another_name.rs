// A version of another saga.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(name = "cart", retired)]
#[derive(Serialize, Deserialize)]
struct CheckoutV1;

#[saga(name = "checkout", version = 2, migrates = CheckoutV1, steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

impl From<CheckoutV1> for Checkout {
    fn from(_: CheckoutV1) -> Self {
        Self
    }
}

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

fn main() {}
