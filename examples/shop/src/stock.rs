//! Stock: a read model, kept by the events that orders publish.

use cqrs::prelude::*;
use cqrs::store::{Any, AnyConnection};

use crate::messages::{Line, OrderCancelledV1, OrderPlacedV1, ShopError};

#[event_handler(group = "stock")]
async fn take_out(event: OrderPlacedV1, tx: &mut Tx<Any>) -> Result<(), sqlx::Error> {
    change(tx, &event.id, &event.lines, -1).await
}

#[event_handler(group = "stock")]
async fn put_back(event: OrderCancelledV1, tx: &mut Tx<Any>) -> Result<(), sqlx::Error> {
    change(tx, &event.id, &event.lines, 1).await
}

/// Whether there is enough, as far as this read model knows. It is a moment behind: two orders may both get the last mug. A
/// shop that must never oversell takes out the stock in the order's own transaction.
pub(crate) async fn check(db: &mut AnyConnection, lines: &[Line]) -> Result<(), ShopError> {
    for Line { sku, quantity } in lines {
        let on_hand =
            sqlx::query_scalar("SELECT on_hand FROM stock WHERE sku = $1").bind(sku).fetch_one(&mut *db).await?;
        if on_hand < i64::from(*quantity) {
            return Err(ShopError::OutOfStock { sku: sku.clone(), wanted: *quantity, on_hand });
        }
    }
    Ok(())
}

/// Adds, with no look at what was done before: that an event counts once is the framework's promise.
async fn change(db: &mut AnyConnection, order: &str, lines: &[Line], sign: i64) -> Result<(), sqlx::Error> {
    for Line { sku, quantity } in lines {
        let quantity = sign * i64::from(*quantity);
        let sql = "UPDATE stock SET on_hand = on_hand + $1 WHERE sku = $2";
        sqlx::query(sql).bind(quantity).bind(sku).execute(&mut *db).await?;
        let sql = "INSERT INTO stock_moves (order_id, sku, quantity) VALUES ($1, $2, $3)";
        sqlx::query(sql).bind(order).bind(sku).bind(quantity).execute(&mut *db).await?;
    }
    Ok(())
}
