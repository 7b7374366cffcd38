// The context is read by its name, so it is one type.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout<T>(T);

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout<u8>) {}

fn main() {}
