// A step goes on by whatever thread is free.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(pivot)]
async fn ship(_cx: &mut Checkout) {
    let counter = std::rc::Rc::new(0);
    std::future::ready(()).await;
    drop(counter);
}

fn main() {}
