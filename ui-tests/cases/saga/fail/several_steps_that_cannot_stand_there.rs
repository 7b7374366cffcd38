// Every step that cannot stand where it does is an error of its own.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve, reserve, (ship, ship as again), close as reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(pivot)]
async fn ship(_cx: &mut Checkout) {}

#[saga_step]
async fn close(_cx: &mut Checkout) {}

fn main() {}
