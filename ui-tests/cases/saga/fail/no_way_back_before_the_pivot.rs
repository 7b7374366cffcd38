// A step before the pivot says how it is undone.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [stock::reserve, ship])]
#[derive(Serialize, Deserialize)]
struct Checkout;

mod stock {
    #[cqrs::saga_step]
    pub(super) async fn reserve(_cx: &mut super::Checkout) {}
}

#[saga_step(pivot)]
async fn ship(_cx: &mut Checkout) {}

fn main() {}
