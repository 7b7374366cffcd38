// A change is stored until the others have ended.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(compensate = none)]
async fn notify(_cx: &Checkout) -> Notified {
    Notified
}

struct Notified;

impl Apply<Notified> for Checkout {
    fn apply(&mut self, _: Notified) {}
}

fn main() {}
