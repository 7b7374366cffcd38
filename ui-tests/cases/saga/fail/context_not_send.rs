// The context is handled by whatever thread is free.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout(#[serde(skip)] std::rc::Rc<u8>);

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

fn main() {}
