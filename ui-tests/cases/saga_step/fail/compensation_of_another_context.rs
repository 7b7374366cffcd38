// A compensation is for sagas over the context that it takes.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga(steps = [back])]
#[derive(Serialize, Deserialize)]
struct Return;

#[saga_step(compensate = release)]
async fn reserve(_cx: &mut Checkout) {}

#[compensation]
async fn release(_cx: &mut Return) {}

#[saga_step(pivot)]
async fn back(_cx: &mut Return) {}

fn main() {}
