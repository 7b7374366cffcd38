//! Payment: a chain of ways to pay, one unit of work. Where a later link refuses, the gift card is as full as before.

use cqrs::prelude::*;
use cqrs::store::Any;

use crate::messages::{Order, PayOrder, Result, ShopError, Status};
use crate::orders;
use crate::prices::sized;

/// The most that the shop waits for, in cents.
const CREDIT: i64 = 100_000;

cqrs::chain!(PayOrder => [by_gift_card, by_card, by_invoice]);

/// Pays what the gift card can, and passes the rest on.
#[chain_link]
async fn by_gift_card(cmd: PayOrder, tx: &mut Tx<Any>) -> Result<Link<PayOrder>> {
    let order = orders::open(tx, &cmd.id).await?;
    let Some(code) = &cmd.gift_card else { return Ok(Link::Pass(cmd)) };
    // Whoever writes the card's row has it to itself, and so what is left on it.
    sqlx::query("UPDATE gift_cards SET cents = cents WHERE code = $1").bind(code).execute(&mut **tx).await?;
    let sql = "INSERT INTO payments (order_id, how, reference, cents)
               SELECT $1, 'gift_card', code, CASE WHEN cents < $2 THEN cents ELSE $2 END FROM gift_cards_left
               WHERE code = $3 AND cents > 0 RETURNING cents";
    let paid = sqlx::query_scalar(sql).bind(&cmd.id).bind(order.total_cents).bind(code).fetch_optional(&mut **tx);
    let Some(cents) = paid.await? else {
        let why = format!("there is no gift card `{code}` with money on it; leave it out to pay without");
        return Err(ShopError::Invalid("gift_card".into(), why));
    };
    if order.total_cents > cents {
        return Ok(Link::Pass(cmd));
    }
    Ok(Link::Answer(orders::conclude(tx, &cmd.id, Status::Paid).await?))
}

/// Nothing leaves the database here, where it could not be undone: the bank fetches the payments by their tokens.
#[chain_link]
async fn by_card(cmd: PayOrder, tx: &mut Tx<Any>) -> Result<Link<PayOrder>> {
    let Some(card) = &cmd.card else { return Ok(Link::Pass(cmd)) };
    sized("card", card.trim().len(), "give the bank's token, or leave it out")?;
    Ok(Link::Answer(pay_rest(tx, &cmd.id, "card", Some(card)).await?))
}

#[chain_link]
async fn by_invoice(cmd: PayOrder, tx: &mut Tx<Any>) -> Result<Link<PayOrder>> {
    let sql = "SELECT cents FROM unpaid WHERE id = $1";
    match sqlx::query_scalar(sql).bind(&cmd.id).fetch_one(&mut **tx).await? {
        due if due > CREDIT => Err(ShopError::OverLimit { due, limit: CREDIT }),
        _ => Ok(Link::Answer(pay_rest(tx, &cmd.id, "invoice", None).await?)),
    }
}

async fn pay_rest(tx: &mut Tx<Any>, id: &str, how: &str, reference: Option<&str>) -> Result<Order> {
    let sql =
        "INSERT INTO payments (order_id, how, reference, cents) SELECT id, $1, $2, cents FROM unpaid WHERE id = $3";
    sqlx::query(sql).bind(how).bind(reference).bind(id).execute(&mut **tx).await?;
    orders::conclude(tx, id, Status::Paid).await
}
