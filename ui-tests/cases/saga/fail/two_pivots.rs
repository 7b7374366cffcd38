// There is one step from which on the saga goes forward only.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve, ship, close])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(pivot)]
async fn ship(_cx: &mut Checkout) {}

#[saga_step(pivot)]
async fn close(_cx: &mut Checkout) {}

fn main() {}
