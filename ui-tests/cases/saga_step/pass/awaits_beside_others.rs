// Steps side by side may each wait for an event of their own.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [(paid, packed)])]
#[derive(Serialize, Deserialize)]
struct Checkout {
    order: String,
}

#[derive(DomainEvent, Serialize, Deserialize)]
struct Paid(String);

#[derive(NotificationEvent, Serialize, Deserialize)]
struct Packed {
    order: String,
}

#[saga_step(awaits = Paid, by = (order, 0), compensate = none)]
async fn paid(_cx: &Checkout, _e: &Paid) {}

#[saga_step(awaits = Packed, by = order, compensate = none)]
async fn packed<'a>(_cx: &'a Checkout, _e: &'a Packed, _meta: &Meta) -> Result<(), cqrs::BoxError> {
    Ok(())
}
