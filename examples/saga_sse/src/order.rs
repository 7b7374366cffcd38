//! The order: a saga, and the command that starts it.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::{BoxError, Problem, SagaError};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

#[saga(name = "order", version = 1, steps = [reserve, charge, pack, hand_over])]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: u32,
    pub(crate) item: String,
}

#[saga_step(compensate = release)]
async fn reserve(_cx: &mut Order, pace: Inject<Pace>) {
    pace.wait().await;
}

#[compensation]
async fn release(_cx: &mut Order, pace: Inject<Pace>) {
    pace.wait().await;
}

#[saga_step(compensate = refund)]
async fn charge(_cx: &mut Order, pace: Inject<Pace>) {
    pace.wait().await;
}

#[compensation]
async fn refund(_cx: &mut Order, pace: Inject<Pace>) {
    pace.wait().await;
}

#[saga_step(compensate = none)]
async fn pack(_cx: &mut Order, pace: Inject<Pace>) {
    pace.wait().await;
}

#[saga_step(pivot)]
async fn hand_over(cx: &mut Order, pace: Inject<Pace>) -> Result<(), BoxError> {
    pace.wait().await;
    if cx.item == "piano" { Err("the carrier takes no pianos".into()) } else { Ok(()) }
}

/// How fast steps are: so slow that one can watch, where somebody does.
pub(crate) struct Pace {
    each: Duration,
    steps: Semaphore,
}

impl Pace {
    pub(crate) fn steady(each: Duration) -> Self {
        Self { each, steps: Semaphore::new(Semaphore::MAX_PERMITS) }
    }

    /// Steps end when they are allowed to.
    pub(crate) fn by_hand() -> Self {
        Self { each: Duration::ZERO, steps: Semaphore::new(0) }
    }

    pub(crate) fn allow(&self, steps: usize) {
        self.steps.add_permits(steps);
    }

    async fn wait(&self) {
        tokio::time::sleep(self.each).await;
        if let Ok(step) = self.steps.acquire().await {
            step.forget();
        }
    }
}

/// Starts the saga of an order, and does not wait for it. Whoever orders makes up the number: sent again, it is the same order.
#[derive(Command, Deserialize)]
#[command(response = Placed, error = OrderError)]
pub(crate) struct PlaceOrder {
    number: u32,
    item: String,
}

#[derive(Serialize)]
pub(crate) struct Placed {
    progress: String,
}

#[command_handler]
async fn place_order(cmd: PlaceOrder, app: &App) -> Result<Placed, OrderError> {
    let PlaceOrder { number, item } = cmd;
    match app.saga(Order { number, item }).id(format!("order-{number}")).start().await {
        Ok(_) => Ok(Placed { progress: format!("/orders/{number}/progress") }),
        Err(SagaError::IdTaken { .. }) => Err(OrderError::NumberTaken(number)),
        Err(error) => Err(error.into()),
    }
}

#[derive(Debug, thiserror::Error, Problem)]
pub(crate) enum OrderError {
    #[error("another order has the number {0}")]
    #[problem(status = 409)]
    NumberTaken(u32),
    #[error("there is no order {0}")]
    #[problem(status = 404)]
    NoSuchOrder(u32),
    #[error("the order is undone: {0}")]
    #[problem(status = 409)]
    Undone(BoxError),
    /// Says nothing of clients: they get a 500 without its text.
    #[error(transparent)]
    Saga(#[from] SagaError),
}
