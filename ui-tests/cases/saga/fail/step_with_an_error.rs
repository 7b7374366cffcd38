// A wrong step is one error: a saga of it is none.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve, ship])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(pivot)]
fn ship(_cx: &mut Checkout) {}

fn main() {}
