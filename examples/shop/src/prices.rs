//! What things cost: the listed prices, and today's, which may not be known.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use cqrs::prelude::*;
use cqrs::store::AnyPool;

use crate::messages::{GetQuote, Line, Quote, Result, ShopError};

/// The listed prices, in cents.
pub(crate) struct Prices(HashMap<String, i64>);

/// Runs once, at the start, after the migrations.
#[provider]
async fn prices(pool: Inject<AnyPool>) -> Result<Prices, sqlx::Error> {
    let prices = sqlx::query_as("SELECT sku, price_cents FROM products").fetch_all(&mut pool.acquire().await?).await?;
    Ok(Prices(prices.into_iter().collect()))
}

/// Today's prices: a file that another program writes, such as `{"tea": 400}`. What it leaves out is at the listed price.
#[derive(Debug)]
pub struct PriceFile(pub PathBuf);

/// Asked at most 300 ms; after three failures in a row not at all for ten seconds. A refusal is no failure.
#[query_handler(
    fallback = listed,
    on = [ShopError::PriceList(_)],
    timeout = "300ms",
    breaker(failures = 3, open_for = "10s")
)]
async fn quote(q: &GetQuote, file: Inject<PriceFile>, prices: Inject<Prices>) -> Result<Quote> {
    let today: HashMap<_, u32> =
        serde_json::from_slice(&tokio::fs::read(&file.0).await?).map_err(std::io::Error::from)?;
    let mut prices = prices.0.clone();
    prices.extend(today.into_iter().map(|(sku, cents)| (sku, i64::from(cents))));
    Ok(Quote { total_cents: total(&Prices(prices), &q.lines)?, price: "today" })
}

#[fallback]
async fn listed(q: &GetQuote, _cause: Cause<ShopError>, prices: Inject<Prices>) -> Result<Quote> {
    Ok(Quote { total_cents: total(&prices, &q.lines)?, price: "listed" })
}

/// Adds up the lines, and refuses what no order may have.
pub(crate) fn total(Prices(prices): &Prices, lines: &[Line]) -> Result<i64> {
    let (mut total, mut seen) = (0, HashSet::new());
    for (at, Line { sku, quantity }) in lines.iter().enumerate() {
        let wrong = |field, why| Err(ShopError::Invalid(format!("lines[{at}].{field}"), why));
        let Some(price) = prices.get(sku) else {
            return wrong("sku", format!("there is no product `{sku}`; leave the line out"));
        };
        if *quantity == 0 {
            return wrong("quantity", "is 0; order at least 1, or leave the line out".into());
        }
        if !seen.insert(sku) {
            return wrong("sku", format!("`{sku}` is on an earlier line; add the quantities up on one"));
        }
        let cents = price.checked_mul(i64::from(*quantity)).and_then(|cents| cents.checked_add(total));
        total = cents.map_or_else(|| wrong("quantity", "is more than we can add up; order less".into()), Ok)?;
    }
    sized("lines", seen.len(), "add one, such as {\"sku\": \"tea\", \"quantity\": 1}").map(|()| total)
}

/// Refuses what is empty, and what nobody needs and could not be stored.
pub(crate) fn sized(field: &str, length: usize, mend: &str) -> Result<()> {
    if (1..=1000).contains(&length) {
        return Ok(());
    }
    let wrong = if length == 0 { "is empty" } else { "is longer than 1,000" };
    Err(ShopError::Invalid(field.into(), format!("{wrong}; {mend}")))
}
