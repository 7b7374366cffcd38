//! Orders: placed one by one or many at once, cancelled, shown.

use cqrs::prelude::*;
use cqrs::store::{Any, AnyConnection, AnyPool};
use cqrs::{BoxError, Problem};

use crate::messages::{CancelOrder, GetOrder, ImportOrders, Imported, ListOrders, Order, PlaceOrder, Result};
use crate::messages::{OrderPlaced, ShopError, Status};
use crate::prices::{Prices, sized, total};
use crate::stock;

#[command_handler]
async fn place(mut cmd: PlaceOrder, prices: Inject<Prices>, tx: &mut Tx<Any>, events: &mut Events) -> Result<Order> {
    sized("id", cmd.id.trim().len(), "choose one that no other order has")?;
    sized("customer", cmd.customer.trim().len(), "say where the confirmation goes, such as `ada@example.com`")?;
    let total_cents = total(&prices, &cmd.lines)?;
    cmd.lines.sort(); // by product: so no two checkouts wait for each other's
    let sql = "INSERT INTO orders (number, id, placed, status, total_cents)
               SELECT coalesce(max(number), 0) + 1, $1, $2, 'placed', $3 FROM orders WHERE true
               ON CONFLICT (id) DO NOTHING";
    let text = serde_json::json!(cmd).to_string();
    let insert = sqlx::query(sql).bind(&cmd.id).bind(text).bind(total_cents).execute(&mut **tx);
    if insert.await?.rows_affected() == 1 {
        // Tried, and undone: a savepoint that is not committed. Nothing is reserved before the checkout.
        stock::reserve(&mut *tx.savepoint().await?, &cmd.lines, 1).await?;
        let order = Order { placed: cmd, status: Status::Placed, total_cents };
        events.raise(OrderPlaced(order.clone()));
        return Ok(order);
    }
    // The client asks again because our answer got lost: it gets an answer, and nothing happens twice.
    let there = find(tx, &cmd.id).await?;
    if there.placed == cmd { Ok(there) } else { Err(ShopError::IdTaken(cmd.id)) }
}

/// Each order is a unit of work of its own, committed before it is told of.
#[command_handler]
async fn import(cmd: ImportOrders, app: &App, items: &mut Items<Imported>) -> Result<(), BoxError> {
    for (line, order) in (1..).zip(cmd.0) {
        let placed = match serde_json::from_value::<PlaceOrder>(order) {
            Ok(order) => app.send(order).await,
            Err(why) => {
                Err(DispatchError::Handler(ShopError::Invalid(format!("orders[{}]", line - 1), why.to_string())))
            }
        };
        let told = match placed {
            Ok(order) => Imported::Accepted { line, id: order.placed.id },
            Err(DispatchError::Handler(no)) if no.problem().is_some() => {
                Imported::Refused { line, why: no.to_string(), reason: no.into() }
            }
            Err(failure) => return Err(failure.into()),
        };
        items.send(told).await;
    }
    Ok(())
}

/// A checkout that is under way finds its order cancelled, and undoes what it has done.
#[command_handler]
async fn cancel(CancelOrder(id): CancelOrder, tx: &mut Tx<Any>) -> Result<Order> {
    update(tx, &id, Status::Cancelled).await
}

#[query_handler]
pub(crate) async fn get(GetOrder(id): GetOrder, pool: Inject<AnyPool>) -> Result<Order> {
    find(&mut pool.acquire().await?, &id).await
}

#[query_handler]
async fn list(query: ListOrders, pool: Inject<AnyPool>) -> Result<Vec<Order>> {
    let limit = i64::from(query.limit.unwrap_or(20).min(100));
    let sql = "SELECT placed, status, total_cents FROM orders ORDER BY number DESC LIMIT $1";
    let rows = sqlx::query_as(sql).bind(limit).fetch_all(&mut pool.acquire().await?).await?;
    Ok(rows.into_iter().map(read).collect::<Result<_, _>>()?)
}

/// Gives an order a status, unless it is paid or cancelled. Whoever writes its row has it to itself until its unit of work
/// ends.
pub(crate) async fn update(db: &mut AnyConnection, id: &str, status: Status) -> Result<Order> {
    let sql = "UPDATE orders SET status = $1 WHERE id = $2 AND status = 'placed'";
    let changed = sqlx::query(sql).bind(status.to_string()).bind(id).execute(&mut *db).await?.rows_affected();
    let order = find(db, id).await?;
    if changed == 1 { Ok(order) } else { Err(ShopError::Concluded(order.placed.id, order.status)) }
}

pub(crate) async fn find(db: &mut AnyConnection, id: &str) -> Result<Order> {
    let sql = "SELECT placed, status, total_cents FROM orders WHERE id = $1";
    let row = sqlx::query_as(sql).bind(id).fetch_optional(db).await?;
    Ok(read(row.ok_or_else(|| ShopError::NoSuchOrder(id.to_owned()))?)?)
}

fn read((placed, status, total_cents): (String, String, i64)) -> Result<Order, sqlx::Error> {
    let placed = serde_json::from_str(&placed).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let status = status.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Order { placed, status, total_cents })
}
