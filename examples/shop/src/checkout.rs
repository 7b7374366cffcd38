//! The checkout: a saga over stock, payment and shipping. Where one of them refuses, what was done before is undone.

use cqrs::SagaError;
use cqrs::prelude::*;
use cqrs::store::{Any, AnyPool, SagaPhase};
use serde::{Deserialize, Serialize};

use crate::messages::{CheckOut, GetOrder, Order, OrderShippedV1, PayOrder, PlaceOrder, Result, ShopError, Status};
use crate::{orders, stock};

/// What the steps know, stored between them. A step's rows commit with the saga's progress: it happens once.
#[saga(name = "checkout", version = 1, steps = [reserve, pay, ship])]
#[derive(Debug, Serialize, Deserialize)]
struct Checkout(PayOrder);

/// Begins the checkout, or joins it: the same again is answered the same. Whoever stops waiting stops nothing.
#[command_handler]
async fn check_out(CheckOut(payment): CheckOut, app: &App, pool: Inject<AnyPool>) -> Result<Order> {
    let order = orders::get(GetOrder(payment.id.clone()), pool).await?;
    let (mut attempt, id) = (1, |attempt| format!("{}/{attempt}", order.placed.id));
    // One that was refused is over: who asks again begins the next.
    while app.sagas().get(id(attempt)).await?.is_some_and(|(saga, _)| saga.phase == SagaPhase::Compensated) {
        attempt += 1;
    }
    match app.saga(Checkout(payment)).id(id(attempt)).await {
        Ok(_) => Ok(Order { status: Status::Paid, ..order }),
        Err(SagaError::IdTaken { .. }) if order.status == Status::Placed => Err(ShopError::UnderWay(order.placed.id)),
        Err(SagaError::IdTaken { .. }) => Err(ShopError::Concluded(order.placed.id, order.status)),
        Err(error) => Err(error.step_error().unwrap_or(ShopError::Checkout(error))),
    }
}

/// For an order that is neither paid nor cancelled.
#[saga_step(compensate = put_back)]
async fn reserve(Checkout(cx): &mut Checkout, tx: &mut Tx<Any>) -> Result<()> {
    let order = orders::update(tx, &cx.id, Status::Placed).await?;
    stock::reserve(tx, &order.placed.lines, 1).await
}

#[compensation]
async fn put_back(Checkout(cx): &mut Checkout, tx: &mut Tx<Any>) -> Result<()> {
    let order = orders::find(tx, &cx.id).await?;
    stock::reserve(tx, &order.placed.lines, -1).await
}

/// Asks the chain of ways to pay, within the step's transaction.
#[saga_step(compensate = refund)]
async fn pay(Checkout(cx): &mut Checkout, tx: &mut Tx<Any>, app: &App) -> Result<()> {
    app.send(cx.clone()).within(tx).await.map_err(|error| match error {
        DispatchError::Handler(refusal) => refusal,
        failure => ShopError::Payment(failure.into()),
    })
}

#[compensation]
async fn refund(Checkout(cx): &mut Checkout, tx: &mut Tx<Any>) -> Result<()> {
    sqlx::query("DELETE FROM payments WHERE order_id = $1").bind(&cx.id).execute(&mut **tx).await?;
    Ok(())
}

/// An order is paid or cancelled, whoever comes first. From here on there is no way back.
#[saga_step(pivot)]
async fn ship(Checkout(cx): &mut Checkout, tx: &mut Tx<Any>, events: &mut Events) -> Result<()> {
    let PlaceOrder { id, lines, .. } = orders::update(tx, &cx.id, Status::Paid).await?.placed;
    events.raise(OrderShippedV1 { id, lines });
    Ok(())
}
