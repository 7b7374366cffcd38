// A change in a `Result` is stored, too.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [notify])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn notify(_cx: &Checkout) -> Result<Notified, cqrs::BoxError> {
    Ok(Notified)
}

struct Notified;

impl Apply<Notified> for Checkout {
    fn apply(&mut self, _: Notified) {}
}

fn main() {}
