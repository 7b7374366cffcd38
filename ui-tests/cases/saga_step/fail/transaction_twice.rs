// There is one transaction.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(pivot)]
async fn ship(_cx: &mut Checkout, _a: &mut Tx<Sqlite>, _b: &mut Begin<Sqlite>) {}

fn main() {}
