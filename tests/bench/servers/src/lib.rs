//! What the programs that measure on real servers share: where the servers are, and how rounds are told to `bench`.

pub mod booking;
pub mod checkpoints;
pub mod consuming;
pub mod kafka;
pub mod memory;
mod peers;
pub mod relaying;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use clap::Parser;
use cqrs::sqlx::{self, AssertSqlSafe, MySqlPool, PgPool};
use serde::Serialize;

pub use self::peers::Peers;

/// What went wrong: it is printed, and nothing is measured.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What `bench` says to each of these programs.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// What to measure: `tx.postgres`.
    pub path: String,
    /// Fewer and shorter rounds.
    #[arg(long)]
    pub quick: bool,
    /// Others beside us, where they are installed: see `tests/peers`.
    #[arg(long)]
    pub peers: bool,
}

impl Arguments {
    /// How many rounds are counted.
    pub fn rounds(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// So many, or a tenth.
    pub fn of(&self, full: u32) -> u32 {
        if self.quick { full / 10 } else { full }
    }
}

/// What was measured, round by round: so many a second, unless the path says otherwise.
#[derive(Debug, Default, Serialize)]
pub struct Rates {
    /// Through the framework.
    pub ours: Vec<f64>,
    /// The plain version of the same work.
    pub plain: Vec<f64>,
    /// Others, by their names.
    pub peers: BTreeMap<&'static str, Vec<f64>>,
    /// What else was measured, by what it is.
    pub also: BTreeMap<&'static str, f64>,
}

impl Rates {
    /// Tells `bench`, by the last line that is printed.
    ///
    /// # Errors
    /// Fails when nobody listens.
    pub fn tell(&self) -> Result<()> {
        use std::io::Write as _;

        writeln!(std::io::stdout(), "{}", serde_json::to_string(self)?)?;
        Ok(())
    }
}

/// So many in that time, a second.
pub fn rate(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64()
}

/// The one in the middle; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// What so many of them, a share, do not exceed; 0 of none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place")]
    let place = (values.len() as f64 * share) as usize;
    values.get(place.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The URL of a server.
///
/// # Errors
/// Fails with how to start one, where the environment names none.
pub fn server(name: &str) -> Result<String> {
    let variable = format!("CQRS_TEST_{name}_URL");
    std::env::var(&variable).map_err(|_| {
        format!("`{variable}` is not set: start the servers with `CQRS_TEST_DURABLE=1 tests/services up`, then `eval \"$(tests/services env)\"`")
            .into()
    })
}

/// A schema of its own in a PostgreSQL database, gone with [`drop_schema`].
///
/// # Errors
/// Fails with what the database said.
pub async fn fresh_schema(pool: &PgPool) -> Result<String> {
    let schema = format!("bench_{}", uuid::Uuid::now_v7().simple());
    sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(pool).await?;
    Ok(schema)
}

/// Drops a schema with all that is in it.
///
/// # Errors
/// Fails with what the database said.
pub async fn drop_schema(pool: &PgPool, schema: &str) -> Result<()> {
    sqlx::query(AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"))).execute(pool).await?;
    Ok(())
}

/// A database of its own on a MySQL or MariaDB server, gone with [`drop_database`].
///
/// # Errors
/// Fails with what the server said.
pub async fn fresh_database(pool: &MySqlPool) -> Result<String> {
    let database = format!("bench_{}", uuid::Uuid::now_v7().simple());
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(pool).await?;
    Ok(database)
}

/// Drops a database with all that is in it.
///
/// # Errors
/// Fails with what the server said.
pub async fn drop_database(pool: &MySqlPool, database: &str) -> Result<()> {
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {database}"))).execute(pool).await?;
    Ok(())
}
