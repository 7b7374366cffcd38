// What a step fails with is told.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [notify])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn notify(_cx: &Checkout) -> Result<(), Late> {
    Err(Late)
}

struct Late;

fn main() {}
