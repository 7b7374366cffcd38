//! Payment: a chain of ways to pay, one unit of work. Where a later link refuses, the gift card is as full as before.

use cqrs::prelude::*;
use cqrs::store::Any;

use crate::messages::{PayOrder, Result, ShopError};
use crate::prices::sized;

/// The most that the shop waits for, in cents.
const CREDIT: i64 = 100_000;

cqrs::chain!(PayOrder => [by_gift_card, by_card, by_invoice]);

/// Pays what the gift card can, and passes the rest on.
#[chain_link]
async fn by_gift_card(cmd: PayOrder, tx: &mut Tx<Any>) -> Result<Link<PayOrder>> {
    let Some(code) = &cmd.gift_card else { return Ok(Link::Pass(cmd)) };
    // Whoever writes the card's row has it to itself, and so what is left on it.
    sqlx::query("UPDATE gift_cards SET cents = cents WHERE code = $1").bind(code).execute(&mut **tx).await?;
    let sql = "SELECT cents FROM gift_cards_left WHERE code = $1 AND cents > 0";
    let Some(left) = sqlx::query_scalar(sql).bind(code).fetch_optional(&mut **tx).await? else {
        let why = format!("there is no gift card `{code}` with money on it; leave it out to pay without");
        return Err(ShopError::Invalid("gift_card".into(), why));
    };
    let due = pay(tx, &cmd, "gift_card", Some(code), left).await?;
    if due == 0 { Ok(Link::Answer(())) } else { Ok(Link::Pass(cmd)) }
}

/// Nothing leaves the database here, where it could not be undone: the bank fetches what was paid on shipped orders.
#[chain_link]
async fn by_card(cmd: PayOrder, tx: &mut Tx<Any>) -> Result<Link<PayOrder>> {
    let Some(card) = &cmd.card else { return Ok(Link::Pass(cmd)) };
    sized("card", card.trim().len(), "give the bank's token, or leave it out")?;
    pay(tx, &cmd, "card", Some(card), i64::MAX).await?;
    Ok(Link::Answer(()))
}

#[chain_link]
async fn by_invoice(cmd: PayOrder, tx: &mut Tx<Any>) -> Result<Link<PayOrder>> {
    match pay(tx, &cmd, "invoice", None, CREDIT).await? {
        0 => Ok(Link::Answer(())),
        due => Err(ShopError::OverLimit { due: CREDIT + due, limit: CREDIT }),
    }
}

/// Pays what is due, or as much of it as there is; gives what is due then.
async fn pay(tx: &mut Tx<Any>, cmd: &PayOrder, how: &str, by: Option<&str>, most: i64) -> Result<i64, sqlx::Error> {
    let sql = "SELECT cents FROM unpaid WHERE id = $1";
    let due: i64 = sqlx::query_scalar(sql).bind(&cmd.id).fetch_one(&mut **tx).await?;
    let sql = "INSERT INTO payments (order_id, how, reference, cents) VALUES ($1, $2, $3, $4)";
    sqlx::query(sql).bind(&cmd.id).bind(how).bind(by).bind(due.min(most)).execute(&mut **tx).await?;
    Ok(due - due.min(most))
}
