// A step's key is made of the saga's id, a slash and the step's name.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(pivot, name = "ship/undo")]
async fn ship(_cx: &mut Checkout) {}

fn main() {}
