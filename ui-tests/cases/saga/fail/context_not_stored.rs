// The context is stored between the steps.
use cqrs::prelude::*;

#[saga(steps = [reserve])]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

fn main() {}
