// A misspelt argument.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(step = [reserve], steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

fn main() {}
