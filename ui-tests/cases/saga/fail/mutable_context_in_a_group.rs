// Steps side by side cannot each have the context to themselves.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [(notify, reserve)])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(compensate = none)]
async fn notify(_cx: &Checkout) {}

fn main() {}
