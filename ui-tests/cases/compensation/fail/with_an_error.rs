// A wrong compensation is one error: a step with it is none.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = release)]
async fn reserve(_cx: &mut Checkout) {}

#[compensation]
fn release(_cx: &mut Checkout) {}

fn main() {}
