//! Stock: reserved by checkouts, and taken out when its orders are shipped.

use cqrs::prelude::*;
use cqrs::store::{Any, AnyConnection};

use crate::messages::{Line, OrderShippedV1, Result, ShopError};

/// Reserves what the lines say, or with `-1` gives it back. What was done before it fails, the caller's unit of work undoes.
pub(crate) async fn reserve(db: &mut AnyConnection, lines: &[Line], times: i64) -> Result<()> {
    for Line { sku, quantity } in lines {
        let wanted = i64::from(*quantity);
        let sql = "UPDATE stock SET reserved = reserved + $1 WHERE sku = $2 RETURNING pieces - reserved";
        let left: i64 = sqlx::query_scalar(sql).bind(times * wanted).bind(sku).fetch_one(&mut *db).await?;
        if left < 0 && times > 0 {
            return Err(ShopError::OutOfStock { sku: sku.clone(), wanted, on_hand: left + wanted });
        }
    }
    Ok(())
}

/// Adds, with no look at what was done before: that an event counts once is the framework's promise.
#[event_handler(group = "stock")]
async fn take_out(event: OrderShippedV1, tx: &mut Tx<Any>) -> Result<(), sqlx::Error> {
    for Line { sku, quantity } in &event.lines {
        let sql = "INSERT INTO stock_moves (order_id, sku, quantity) VALUES ($1, $2, $3)";
        sqlx::query(sql).bind(&event.id).bind(sku).bind(-i64::from(*quantity)).execute(&mut **tx).await?;
    }
    Ok(())
}
