// So many at once, so many in a time: of each at least one.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [ship], concurrency = 0, rate = "often")]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(pivot)]
async fn ship(_cx: &mut Checkout) {}

fn main() {}
