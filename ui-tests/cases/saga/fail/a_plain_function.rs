// A step is a function under `#[saga_step]`.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

async fn reserve(_cx: &mut Checkout) {}

fn main() {}
