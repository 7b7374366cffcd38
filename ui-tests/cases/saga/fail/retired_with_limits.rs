// Nothing runs of a retired version that could be limited.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(name = "checkout", retired, rate = "30/m")]
#[derive(Serialize, Deserialize)]
struct Checkout;

fn main() {}
