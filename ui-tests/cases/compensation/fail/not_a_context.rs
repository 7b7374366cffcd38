// A compensation takes the context of a saga.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[compensation]
async fn release(_cx: &mut Order) {}

struct Order;

fn main() {}
