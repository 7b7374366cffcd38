// Steps are named by their paths, not called.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve(), reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

fn main() {}
