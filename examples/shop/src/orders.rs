//! Orders: three commands, two queries.

use std::collections::HashMap;

use cqrs::prelude::*;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use crate::messages::{CancelOrder, GetOrder, ListOrders, Order, PayOrder, PlaceOrder, ShopError, Status};
use crate::messages::{OrderCancelledV1, OrderPlaced, OrderPlacedV1};
use crate::stock;

/// What things cost, in cents.
struct Prices(HashMap<String, i64>);

/// Runs once, at the start, after the migrations.
#[provider]
async fn prices(pool: Inject<SqlitePool>) -> Result<Prices, sqlx::Error> {
    let prices = sqlx::query_as("SELECT sku, price_cents FROM products").fetch_all(&*pool).await?;
    Ok(Prices(prices.into_iter().collect()))
}

#[command_handler]
async fn place_order(
    cmd: PlaceOrder,
    prices: Inject<Prices>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
) -> Result<Order, ShopError> {
    let PlaceOrder { id, customer, lines } = cmd;
    if let Some(order) = find(tx, &id).await? {
        // The client asks again because our answer got lost: it gets an answer, and nothing happens twice.
        return if order.customer == customer && order.lines == lines {
            Ok(order)
        } else {
            Err(ShopError::IdTaken(id))
        };
    }
    if lines.is_empty() {
        return Err(ShopError::EmptyOrder);
    }
    let mut total_cents = 0;
    for line in &lines {
        let (sku, wanted) = (line.sku.clone(), line.quantity);
        let Some(price) = prices.0.get(&sku) else { return Err(ShopError::UnknownSku(sku)) };
        match stock::on_hand(tx, &sku).await? {
            _ if wanted == 0 => return Err(ShopError::ZeroQuantity(sku)),
            on_hand if on_hand < i64::from(wanted) => return Err(ShopError::OutOfStock { sku, wanted, on_hand }),
            _ => total_cents += price * i64::from(wanted),
        }
    }
    let order = Order { id, customer, status: Status::Placed, total_cents, lines };
    insert(tx, &order).await?;
    events.raise(OrderPlaced(order.clone()));
    events.raise(OrderPlacedV1 { id: order.id.clone(), lines: order.lines.clone() });
    Ok(order)
}

#[command_handler]
async fn pay_order(PayOrder(id): PayOrder, tx: &mut Tx<Sqlite>) -> Result<Order, ShopError> {
    conclude(tx, id, Status::Paid).await
}

#[command_handler]
async fn cancel_order(cmd: CancelOrder, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<Order, ShopError> {
    let order = conclude(tx, cmd.0, Status::Cancelled).await?;
    events.raise(OrderCancelledV1 { id: order.id.clone(), lines: order.lines.clone() });
    Ok(order)
}

#[query_handler]
async fn get_order(GetOrder(id): GetOrder, pool: Inject<SqlitePool>) -> Result<Order, ShopError> {
    find(&mut *pool.acquire().await?, &id).await?.ok_or(ShopError::NoSuchOrder(id))
}

#[query_handler]
async fn list_orders(query: ListOrders, pool: Inject<SqlitePool>) -> Result<Vec<Order>, ShopError> {
    let limit = query.limit.unwrap_or(20).min(100);
    let sql = "SELECT * FROM orders_with_lines ORDER BY number DESC LIMIT ?";
    Ok(sqlx::query_as(sql).bind(limit).fetch_all(&*pool).await?)
}

/// Gives an order its last status. A unit of work holds SQLite's write lock from its beginning, so nobody comes between
/// the look and the update.
async fn conclude(db: &mut SqliteConnection, id: String, status: Status) -> Result<Order, ShopError> {
    let Some(order) = find(db, &id).await? else { return Err(ShopError::NoSuchOrder(id)) };
    match order.status {
        Status::Placed => {}
        Status::Paid => return Err(ShopError::AlreadyPaid(id)),
        Status::Cancelled => return Err(ShopError::AlreadyCancelled(id)),
    }
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
