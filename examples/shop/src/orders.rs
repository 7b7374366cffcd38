//! Orders: placed one by one or many at once, cancelled, shown.

use cqrs::prelude::*;
use cqrs::store::{Any, AnyConnection, AnyPool};

use crate::messages::{CancelOrder, GetOrder, ImportOrders, Imported, ListOrders, Order, PlaceOrder, Result};
use crate::messages::{OrderCancelledV1, OrderPlaced, OrderPlacedV1, ShopError, Status};
use crate::prices::{Prices, sized};
use crate::stock;

#[command_handler]
async fn place(cmd: PlaceOrder, prices: Inject<Prices>, tx: &mut Tx<Any>, events: &mut Events) -> Result<Order> {
    let PlaceOrder { id, customer, lines } = cmd;
    sized("id", id.trim().len(), "choose one that no other order has")?;
    sized("customer", customer.trim().len(), "say where the confirmation goes, such as `ada@example.com`")?;
    let total_cents = prices.total(&lines)?;
    let order = Order { id, customer, status: Status::Placed, total_cents, lines };
    let mut there = find(tx, &order.id).await?;
    if there.is_none() {
        stock::check(tx, &order.lines).await?;
        if insert(tx, &order).await? {
            events.raise(OrderPlaced(order.clone()));
            events.raise(OrderPlacedV1 { id: order.id.clone(), lines: order.lines.clone() });
            return Ok(order);
        }
        there = find(tx, &order.id).await?; // placed by somebody else in the meantime
    }
    // The client asks again because our answer got lost: it gets an answer, and nothing happens twice.
    let same = |there: &Order| there.customer == order.customer && there.lines == order.lines;
    there.filter(same).ok_or(ShopError::IdTaken(order.id))
}

/// Commits each order before it tells of it. A handler is a function: this one calls another.
#[command_handler]
async fn import(
    cmd: ImportOrders,
    prices: Inject<Prices>,
    tx: &mut Tx<Any>,
    events: &mut Events,
    items: &mut Items<Imported>,
) -> Result<()> {
    for (line, order) in (1..).zip(cmd.0) {
        let wrong = |why| Err(ShopError::Invalid(format!("orders[{}]", line - 1), why));
        let placed = match serde_json::from_value(order) {
            Ok(Some(order)) => place(order, prices.clone(), tx, events).await,
            Ok(None) => wrong("is no JSON object".to_owned()),
            Err(error) => wrong(error.to_string()),
        };
        let told = match placed {
            Ok(Order { id, .. }) => Imported::Accepted { line, id },
            Err(failure @ ShopError::Database(_)) => return Err(failure),
            Err(refusal) => Imported::Refused { line, why: refusal.to_string(), reason: refusal.into() },
        };
        items.commit(tx, told).await?;
    }
    Ok(())
}

#[command_handler]
async fn cancel(CancelOrder(id): CancelOrder, tx: &mut Tx<Any>, events: &mut Events) -> Result<Order> {
    let order = conclude(tx, &id, Status::Cancelled).await?;
    events.raise(OrderCancelledV1 { id, lines: order.lines.clone() });
    Ok(order)
}

#[query_handler]
async fn get(GetOrder(id): GetOrder, pool: Inject<AnyPool>) -> Result<Order> {
    find(&mut pool.acquire().await?, &id).await?.ok_or(ShopError::NoSuchOrder(id))
}

#[query_handler]
async fn list(query: ListOrders, pool: Inject<AnyPool>) -> Result<Vec<Order>> {
    let limit = i64::from(query.limit.unwrap_or(20).min(100));
    let sql = "SELECT id, customer, status, total_cents, lines FROM orders ORDER BY number DESC LIMIT $1";
    let rows = sqlx::query_as(sql).bind(limit).fetch_all(&mut pool.acquire().await?).await?;
    Ok(rows.into_iter().map(read).collect::<Result<_, _>>()?)
}

/// An order that is neither paid nor cancelled, and stays so until somebody here concludes it: whoever writes a row has it
/// to itself until the end of its unit of work.
pub(crate) async fn open(db: &mut AnyConnection, id: &str) -> Result<Order> {
    sqlx::query("UPDATE orders SET status = status WHERE id = $1").bind(id).execute(&mut *db).await?;
    match find(db, id).await? {
        Some(order) if order.status == Status::Placed => Ok(order),
        Some(order) => Err(ShopError::Concluded(order.id, order.status)),
        None => Err(ShopError::NoSuchOrder(id.to_owned())),
    }
}

/// Gives an open order its last status.
pub(crate) async fn conclude(db: &mut AnyConnection, id: &str, status: Status) -> Result<Order> {
    let order = open(db, id).await?;
    let sql = "UPDATE orders SET status = $1 WHERE id = $2";
    sqlx::query(sql).bind(status.to_string()).bind(id).execute(db).await?;
    Ok(Order { status, ..order })
}

async fn find(db: &mut AnyConnection, id: &str) -> Result<Option<Order>, sqlx::Error> {
    let sql = "SELECT id, customer, status, total_cents, lines FROM orders WHERE id = $1";
    sqlx::query_as(sql).bind(id).fetch_optional(db).await?.map(read).transpose()
}

fn read(
    (id, customer, status, total_cents, lines): (String, String, String, i64, String),
) -> Result<Order, sqlx::Error> {
    let status = status.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let lines = serde_json::from_str(&lines).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Order { id, customer, status, total_cents, lines })
}

/// Whether it is there now, and was not before.
async fn insert(db: &mut AnyConnection, order: &Order) -> Result<bool, sqlx::Error> {
    let Order { id, customer, status, total_cents, lines } = order;
    let sql = "INSERT INTO orders (number, id, customer, status, total_cents, lines)
               SELECT coalesce(max(number), 0) + 1, $1, $2, $3, $4, $5 FROM orders WHERE true
               ON CONFLICT (id) DO NOTHING";
    let lines = serde_json::to_string(lines).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let insert = sqlx::query(sql).bind(id).bind(customer).bind(status.to_string()).bind(total_cents).bind(lines);
    Ok(insert.execute(db).await?.rows_affected() == 1)
}
