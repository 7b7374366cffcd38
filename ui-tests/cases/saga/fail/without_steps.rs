// A saga lists its steps.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(name = "checkout")]
#[derive(Serialize, Deserialize)]
struct Checkout;

fn main() {}
