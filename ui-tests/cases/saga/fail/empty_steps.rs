// A saga has a step at least.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [])]
#[derive(Serialize, Deserialize)]
struct Checkout;

fn main() {}
