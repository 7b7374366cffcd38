// A compensation is no step.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [release])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[compensation]
async fn release(_cx: &mut Checkout) {}

fn main() {}
