// An attempt takes some time.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(pivot, timeout = "0s")]
async fn ship(_cx: &mut Checkout) {}

fn main() {}
