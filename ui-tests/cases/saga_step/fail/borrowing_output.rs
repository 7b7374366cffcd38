// What a step returns outlives its call.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(compensate = none)]
async fn notify(cx: &Checkout) -> Result<(), &str> {
    let _ = cx;
    Ok(())
}

fn main() {}
