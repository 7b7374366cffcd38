// Groups do not nest.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve, (notify, (notify as again, notify as third))])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(compensate = none)]
async fn notify(_cx: &Checkout) {}

fn main() {}
