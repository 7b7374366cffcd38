// The context takes the change that a step returns.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(compensate = none)]
async fn notify(_cx: &Checkout) -> Result<Notified, cqrs::BoxError> {
    Ok(Notified)
}

#[derive(Serialize, Deserialize)]
struct Notified;

fn main() {}
