// A compensation takes what a step takes, and changes its context or looks at it.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use serde::{Deserialize, Serialize};

#[saga(steps = [reserve])]
#[derive(Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = release)]
async fn reserve(_cx: &mut Checkout, _tx: &mut Tx<Sqlite>, _meta: &Meta, _app: &App) {}

#[compensation]
async fn release(_cx: &Checkout, _tx: &mut Tx<Sqlite>, _events: &mut Events, key: StepKey) -> Result<(), cqrs::BoxError> {
    Err(key.of_step().into())
}
