//! As people write it.
#![deny(unused_qualifications)]

use std::convert::Infallible;
use std::sync::Arc;

use bus::BoxError;
use bus::prelude::*;
use bus::serde::{Deserialize, Serialize};
use bus::sqlx::{self, Sqlite, SqlitePool};

/// A price.
pub trait Price: Send + Sync {
    /// What it is.
    fn get(&self) -> u64;
}

struct Fixed;

impl Price for Fixed {
    fn get(&self) -> u64 {
        3
    }
}

#[provider(crate = ::bus)]
fn price() -> Arc<dyn Price> {
    Arc::new(Fixed)
}

/// Who calls.
#[derive(Debug)]
struct Caller(u32);

#[provider(scope = "message", crate = ::bus)]
fn caller(meta: &Meta) -> Caller {
    Caller(meta.attempt())
}

#[middleware(order = 1, kinds = [query], crate = ::bus)]
async fn pass(_call: Call<'_>, next: Next<'_>) -> Outcome {
    next.run().await
}

/// A command.
#[derive(Command, Debug, Clone, Serialize, Deserialize)]
#[command(response = u64, error = sqlx::Error, name = "ordinary_buy", version = 2, crate = ::bus)]
#[serde(crate = "bus::serde")]
pub struct Buy {
    /// How many.
    pub count: u64,
}

#[command_handler(crate = ::bus)]
async fn buy(
    cmd: Buy,
    price: Inject<dyn Price>,
    caller: Inject<Caller>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
) -> Result<u64, sqlx::Error> {
    let _ = sqlx::query("SELECT 1").execute(&mut **tx).await?;
    events.raise(Bought { count: cmd.count });
    Ok(cmd.count * price.get() * u64::from(caller.0))
}

/// A query.
#[derive(Query, Debug)]
#[query(response = Option<u64>, error = Infallible, crate = ::bus)]
pub struct Stock;

#[query_handler(crate = ::bus)]
async fn stock(_q: &Stock, _pool: Inject<SqlitePool>) -> Option<u64> {
    None
}

/// A streaming command.
#[derive(Command, Debug)]
#[command(item = u64, crate = ::bus)]
pub struct Count(pub u64);

#[command_handler(crate = ::bus)]
async fn count(cmd: Count, items: &mut Items<u64>, _app: &App) -> Result<(), BoxError> {
    for number in 0..cmd.0 {
        items.send(number).await;
    }
    Ok(())
}

/// A domain event.
#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
#[event(crate = ::bus)]
#[serde(crate = "bus::serde")]
pub struct Bought {
    /// How many.
    pub count: u64,
}

/// A notification event.
#[derive(NotificationEvent, Debug, Serialize, Deserialize)]
#[event(key = 0, topic = "sales", crate = ::bus)]
#[serde(crate = "bus::serde")]
pub struct Sold(pub u64);

#[event_handler(crate = ::bus)]
async fn announce(e: &Bought, events: &mut Events) {
    events.raise(Sold(e.count));
}

#[event_handler(inline, crate = ::bus)]
async fn check(e: &Bought, _tx: &mut Tx<Sqlite>) -> Result<(), TooMany> {
    if e.count > 100 { Err(TooMany) } else { Ok(()) }
}

/// Nobody buys that many.
#[derive(Debug)]
pub struct TooMany;

impl core::fmt::Display for TooMany {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("too many")
    }
}

impl core::error::Error for TooMany {}

#[event_handler(durable, retry(max = 2, first = "1s"), crate = ::bus)]
async fn keep(_e: Bought, _meta: &Meta) {}

#[event_handler(group = "books", topic = "sales", crate = ::bus)]
async fn book(_e: &Sold, begin: &mut Begin<Sqlite>) -> Result<(), BoxError> {
    let _ = begin.begin().await?;
    Ok(())
}
