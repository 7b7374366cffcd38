// A change without a `Result` is one, too.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(compensate = none)]
async fn notify(_cx: &Checkout) -> u64 {
    1
}

fn main() {}
