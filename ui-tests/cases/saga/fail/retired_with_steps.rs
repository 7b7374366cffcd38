// A version that is taken over has no steps.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(name = "checkout", retired, steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

fn main() {}
