// Every argument, in one step or another.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [charge, confirm])]
#[derive(Serialize, Deserialize)]
struct Checkout(u32);

#[saga_step(compensate = refund, retry(max = 3, first = "1s", factor = 1.5, ceiling = "1m"), timeout = "10s",
            fallback = elsewhere, on = [e if e.kind() == std::io::ErrorKind::Other], breaker(failures = 2, open_for = "60s"), name = "charged")]
async fn charge(cx: &mut Checkout, _key: StepKey) -> Result<(), std::io::Error> { Err(std::io::Error::other(cx.0.to_string())) }

#[fallback]
async fn elsewhere(cx: &mut Checkout, _key: StepKey, _cause: Cause<std::io::Error>) { cx.0 += 1; }

#[compensation(retry(max = 5))]
async fn refund(_cx: &Checkout, _key: StepKey) {}

#[saga_step(awaits = Paid, by = (0, order), timeout = "15m", group = "till", pivot)]
async fn confirm(_cx: &mut Checkout, _e: &Paid, _events: &mut Events) -> Result<(), cqrs::BoxError> { Ok(()) }

#[derive(NotificationEvent, Serialize, Deserialize)]
struct Paid { order: u32 }
