// A step of a saga without a pivot says how it is undone.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step]
async fn reserve(_cx: &mut Checkout) {}

fn main() {}
