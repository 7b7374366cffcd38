//! Stock: a read model, kept by the events that orders publish.

use cqrs::prelude::*;
use sqlx::{Sqlite, SqliteConnection};

use crate::messages::{Line, OrderCancelledV1, OrderPlacedV1};

#[event_handler(group = "stock")]
async fn take_out(event: OrderPlacedV1, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    change(tx, &event.id, &event.lines, -1).await
}

#[event_handler(group = "stock")]
async fn put_back(event: OrderCancelledV1, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    change(tx, &event.id, &event.lines, 1).await
}

/// How much there is as far as this read model knows. It is a moment behind: two orders may both get the last mug. A
/// shop that must never oversell takes out the stock in the order's own transaction.
pub(crate) async fn on_hand(db: &mut SqliteConnection, sku: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT on_hand FROM stock WHERE sku = ?").bind(sku).fetch_one(db).await
}

/// Adds, with no look at what was done before: that an event counts once is the framework's promise.
async fn change(db: &mut SqliteConnection, order: &str, lines: &[Line], sign: i64) -> Result<(), sqlx::Error> {
    for Line { sku, quantity } in lines {
        let quantity = sign * i64::from(*quantity);
        let sql = "UPDATE stock SET on_hand = on_hand + ? WHERE sku = ?";
        sqlx::query(sql).bind(quantity).bind(sku).execute(&mut *db).await?;
        let sql = "INSERT INTO stock_moves (order_id, sku, quantity) VALUES (?, ?, ?)";
        sqlx::query(sql).bind(order).bind(sku).bind(quantity).execute(&mut *db).await?;
    }
    Ok(())
}
