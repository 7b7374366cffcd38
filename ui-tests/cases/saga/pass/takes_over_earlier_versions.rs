// A version takes over one that is retired.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(name = "checkout", version = 1, retired)]
#[derive(Serialize, Deserialize)]
struct CheckoutV1(u32);

#[saga(name = "checkout", version = 2, migrates = CheckoutV1, steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout(String);

impl From<CheckoutV1> for Checkout {
    fn from(old: CheckoutV1) -> Self {
        Self(old.0.to_string())
    }
}

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}
