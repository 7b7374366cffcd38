//! A relay beside the plain loop that drains a table, publishes, awaits all and commits: what it takes from each database, and gives
//! each broker.

mod mariadb;
mod postgres;
mod sqlite;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use cqrs::broker::MemoryBroker;
use cqrs::broker::driver::{Driver, Outgoing};
use cqrs::sqlx::{Database, Transaction};
use cqrs::{App, Delivery, Event, Tx};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use uuid::Uuid;

pub use self::mariadb::OnMariaDb;
pub use self::postgres::OnPostgres;
pub use self::sqlite::OnSqlite;
use crate::{Result, rate};

/// How many keys the messages have.
pub const KEYS: u32 = 100;
const STORED_AT_ONCE: u32 = 2_000;
const DRAINED_AT_ONCE: i64 = 2_000;

/// A row as the plain loop takes it out of its table.
#[derive(Debug)]
pub struct Drained {
    /// Its place.
    pub seq: i64,
    /// The key of the message.
    pub key: String,
    /// Its body.
    pub payload: Vec<u8>,
    /// A JSON object.
    pub headers: String,
}

/// The tables of one database: the outbox, one that is drained by hand, and rows that both are filled with. The plain one has a
/// primary key and nothing else.
pub trait Tables {
    /// Whose they are.
    type Db: Database;

    /// Keeps aside what the outbox holds, and makes the plain table.
    fn set_up(&self) -> impl Future<Output = Result<()>>;

    /// Fills the outbox.
    fn fill(&self, tx: &mut Tx<Self::Db>, rows: u32) -> impl Future<Output = Result<()>>;

    /// Fills the plain table.
    fn fill_by_hand(&self, rows: u32) -> impl Future<Output = Result<()>>;

    /// Takes out at most so many rows, in a transaction that is still open.
    fn drain(&self, most: i64) -> impl Future<Output = Result<(Transaction<'static, Self::Db>, Vec<Drained>)>>;

    /// Whether the outbox is empty: a look at where its last row would be, since all before it were deleted just now.
    fn is_empty(&self) -> impl Future<Output = Result<bool>>;
}

/// Where the plain loop publishes.
pub trait Publisher {
    /// Publishes rows in order, and waits until the broker has all of them.
    fn publish(&self, topic: &str, rows: Vec<Drained>) -> impl Future<Output = Result<()>>;
}

fn headers(row: &Drained) -> Result<BTreeMap<String, String>> {
    Ok(serde_json::from_str(&row.headers)?)
}

impl Publisher for FutureProducer {
    async fn publish(&self, topic: &str, rows: Vec<Drained>) -> Result<()> {
        let mut sent = Vec::with_capacity(rows.len());
        for row in &rows {
            let said = headers(row)?;
            let mut headers = OwnedHeaders::new_with_capacity(said.len());
            for (name, value) in &said {
                headers = headers.insert(Header { key: name, value: Some(value) });
            }
            let record = FutureRecord::to(topic).key(&row.key).payload(&row.payload).headers(headers);
            sent.push(self.send_result(record).map_err(|(error, _)| error)?);
        }
        for delivery in sent {
            delivery.await?.map_err(|(error, _)| error)?;
        }
        Ok(())
    }
}

impl Publisher for MemoryBroker {
    async fn publish(&self, topic: &str, rows: Vec<Drained>) -> Result<()> {
        let outgoing = |row: Drained| {
            let headers = headers(&row)?;
            let id = headers.get("event_id").map_or(Ok(Uuid::nil()), |id| id.parse())?;
            let delivery = Delivery::new(topic, row.payload).key(row.key);
            let delivery = headers.into_iter().fold(delivery, |delivery, (name, value)| delivery.header(name, value));
            Ok(Outgoing { id, delivery })
        };
        let batch = rows.into_iter().map(outgoing).collect::<Result<Vec<_>>>()?;
        for published in Driver::publish(self, batch).await {
            published?;
        }
        Ok(())
    }
}

/// Stores rows by the framework, nobody publishing, and keeps them aside.
///
/// # Errors
/// Fails with what the store said.
pub async fn templates<T: Tables, E: Event>(app: &App, tables: &T, rows: u32, event: impl Fn(u32) -> E) -> Result<()> {
    for first in (0..rows).step_by(STORED_AT_ONCE as usize) {
        let mut unit = app.unit::<T::Db>().await?;
        for number in first..rows.min(first + STORED_AT_ONCE) {
            unit.events().raise(event(number % KEYS));
        }
        unit.commit().await?;
    }
    tables.set_up().await
}

/// From the commit of so many rows, which wakes the relay, until the outbox is empty: rows a second.
///
/// # Errors
/// Fails with what the store said.
pub async fn ours<T: Tables, E: Event>(app: &App, tables: &T, rows: u32, event: E) -> Result<f64> {
    let mut unit = app.unit::<T::Db>().await?;
    tables.fill(unit.tx(), rows - 1).await?;
    unit.events().raise(event);
    unit.commit().await?;
    let begun = Instant::now();
    while !tables.is_empty().await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(rate(rows, begun.elapsed()))
}

/// The same by hand.
///
/// # Errors
/// Fails with what database or broker said.
pub async fn by_hand<T: Tables>(tables: &T, publisher: &impl Publisher, topic: &str, rows: u32) -> Result<f64> {
    tables.fill_by_hand(rows).await?;
    let begun = Instant::now();
    while drain(tables, publisher, topic).await? > 0 {}
    Ok(rate(rows, begun.elapsed()))
}

/// One turn of the plain loop: how many rows it published.
///
/// # Errors
/// Fails with what database or broker said.
pub async fn drain<T: Tables>(tables: &T, publisher: &impl Publisher, topic: &str) -> Result<usize> {
    let (tx, mut found) = tables.drain(DRAINED_AT_ONCE).await?;
    let count = found.len();
    found.sort_unstable_by_key(|row| row.seq);
    publisher.publish(topic, found).await?;
    tx.commit().await?;
    Ok(count)
}
