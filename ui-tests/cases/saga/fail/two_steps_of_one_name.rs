// The progress of a step is stored by its name.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve, reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

fn main() {}
