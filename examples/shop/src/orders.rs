//! Orders: placed one by one or many at once, cancelled, shown.

use cqrs::prelude::*;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use crate::messages::{CancelOrder, GetOrder, ImportOrders, Imported, ListOrders, Order, PlaceOrder, Result};
use crate::messages::{OrderCancelledV1, OrderPlaced, OrderPlacedV1, ShopError, Status};
use crate::prices::{Prices, sized};
use crate::stock;

#[command_handler]
async fn place(cmd: PlaceOrder, prices: Inject<Prices>, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<Order> {
    let PlaceOrder { id, customer, lines } = cmd;
    sized("id", id.trim().len(), "choose one that no other order has")?;
    sized("customer", customer.trim().len(), "say where the confirmation goes, such as `ada@example.com`")?;
    let total_cents = prices.total(&lines)?;
    if let Some(order) = find(tx, &id).await? {
        // The client asks again because our answer got lost: it gets an answer, and nothing happens twice.
        let same = order.customer == customer && order.lines == lines;
        return if same { Ok(order) } else { Err(ShopError::IdTaken(id)) };
    }
    for line in &lines {
        let (sku, wanted, on_hand) = (line.sku.clone(), line.quantity, stock::on_hand(tx, &line.sku).await?);
        if on_hand < i64::from(wanted) {
            return Err(ShopError::OutOfStock { sku, wanted, on_hand });
        }
    }
    let order = Order { id, customer, status: Status::Placed, total_cents, lines };
    insert(tx, &order).await?;
    events.raise(OrderPlaced(order.clone()));
    events.raise(OrderPlacedV1 { id: order.id.clone(), lines: order.lines.clone() });
    Ok(order)
}

/// Commits each order before it tells of it. A handler is a function: this one calls another.
#[command_handler]
async fn import(
    cmd: ImportOrders,
    prices: Inject<Prices>,
    tx: &mut Tx<Sqlite>,
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
async fn cancel(CancelOrder(id): CancelOrder, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<Order> {
    let order = conclude(tx, &id, Status::Cancelled).await?;
    events.raise(OrderCancelledV1 { id, lines: order.lines.clone() });
    Ok(order)
}

#[query_handler]
async fn get(GetOrder(id): GetOrder, pool: Inject<SqlitePool>) -> Result<Order> {
    find(&mut *pool.acquire().await?, &id).await?.ok_or(ShopError::NoSuchOrder(id))
}

#[query_handler]
async fn list(query: ListOrders, pool: Inject<SqlitePool>) -> Result<Vec<Order>> {
    let limit = query.limit.unwrap_or(20).min(100);
    let sql = "SELECT * FROM orders_with_lines ORDER BY number DESC LIMIT ?";
    Ok(sqlx::query_as(sql).bind(limit).fetch_all(&*pool).await?)
}

/// An order that is neither paid nor cancelled. A unit of work holds SQLite's write lock from its beginning, so it stays so
/// until somebody here concludes it.
pub(crate) async fn open(db: &mut SqliteConnection, id: &str) -> Result<Order> {
    match find(db, id).await? {
        Some(order) if order.status == Status::Placed => Ok(order),
        Some(order) => Err(ShopError::Concluded(order.id, order.status)),
        None => Err(ShopError::NoSuchOrder(id.to_owned())),
    }
}

/// Gives an open order its last status.
pub(crate) async fn conclude(db: &mut SqliteConnection, id: &str, status: Status) -> Result<Order> {
    let order = open(db, id).await?;
    sqlx::query("UPDATE orders SET status = ? WHERE id = ?").bind(status).bind(id).execute(db).await?;
    Ok(Order { status, ..order })
}

async fn find(db: &mut SqliteConnection, id: &str) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM orders_with_lines WHERE id = ?").bind(id).fetch_optional(db).await
}

async fn insert(db: &mut SqliteConnection, order: &Order) -> Result<(), sqlx::Error> {
    let Order { id, customer, status, total_cents, lines } = order;
    let sql = "INSERT INTO orders (id, customer, status, total_cents) VALUES (?, ?, ?, ?)";
    sqlx::query(sql).bind(id).bind(customer).bind(status).bind(total_cents).execute(&mut *db).await?;
    let sql = "INSERT INTO order_lines SELECT ?, key, value ->> 'sku', value ->> 'quantity' FROM json_each(?)";
    sqlx::query(sql).bind(id).bind(sqlx::types::Json(lines)).execute(db).await.map(drop)
}
