// A step is called once at least.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(pivot, retry(max = 0))]
async fn ship(_cx: &mut Checkout) {}

fn main() {}
