// A step goes on by whatever thread is free.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [confirm])]
#[derive(Serialize, Deserialize)]
struct Checkout { order: u32 }

#[derive(DomainEvent, Serialize, Deserialize)]
struct Paid { order: u32 }

#[saga_step(awaits = Paid, by = order, compensate = none)]
async fn confirm(_cx: &mut Checkout, _e: &Paid) {
    let counter = std::rc::Rc::new(0);
    std::future::ready(()).await;
    drop(counter);
}

fn main() {}
