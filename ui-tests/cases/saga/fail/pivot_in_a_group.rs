// A saga cannot go forward only by one of several steps at once.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [(notify, print)])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn notify(_cx: &Checkout) {}

#[saga_step(pivot)]
async fn print(_cx: &Checkout) {}

fn main() {}
