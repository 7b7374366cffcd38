// The fallback of a step that returns a change returns one, too.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(compensate = none, fallback = by_hand)]
async fn notify(_cx: &Checkout) -> Result<(), cqrs::BoxError> {
    Ok(())
}

#[fallback]
async fn by_hand(_cx: &mut Checkout) {}

fn main() {}
