//! Between records and rows: times, ids, headers, and how many rows one statement may carry.

use std::collections::BTreeMap;
use std::time::SystemTime;

use sqlx::sqlite::{SqliteQueryResult, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::BoxError;
pub(super) use crate::store::rows::{limit, micros, time};
use crate::store::{Claim, StoreError, StoreErrorKind, WorkQueue};

/// How many values one statement may bind: SQLite's own limit is 32,766.
const MOST_VALUES: usize = 30_000;

/// How many rows one statement carries at most. Larger statements gain nothing more, and take long to parse.
const MOST_ROWS: usize = 500;

/// Statements of up to so many rows are kept prepared; longer ones come in too many lengths for the statement cache.
const KEPT_ROWS: usize = 4;

/// How many rows of so many columns go into one statement.
pub(super) const fn rows_per_statement(columns: usize) -> usize {
    let rows = MOST_VALUES / columns;
    if rows < MOST_ROWS { rows } else { MOST_ROWS }
}

/// Splits into vectors of at most `size`.
pub(super) fn chunks<T>(items: Vec<T>, size: usize) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<T> = items.by_ref().take(size).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Whether a statement for so many rows is kept prepared.
pub(super) const fn is_kept(rows: usize) -> bool {
    rows <= KEPT_ROWS
}

/// Runs a statement built for so many rows.
pub(super) async fn run(
    connection: &mut SqliteConnection,
    mut statement: QueryBuilder<Sqlite>,
    rows: usize,
) -> Result<SqliteQueryResult, sqlx::Error> {
    statement.build().persistent(is_kept(rows)).execute(connection).await
}

/// Runs a statement built for so many rows, and gives what it returns.
pub(super) async fn fetch(
    connection: &mut SqliteConnection,
    mut statement: QueryBuilder<Sqlite>,
    rows: usize,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    statement.build().persistent(is_kept(rows)).fetch_all(connection).await
}

/// Adds `(seq, fence) IN (..)`. The state is part of it: a fence moves on with the next owner only, so a row that was
/// handed back or waits carries the fence of the claim it came from.
pub(super) fn push_held(statement: &mut QueryBuilder<Sqlite>, claims: &[Claim]) {
    statement.push("state = 'claimed' AND (seq, fence) IN (");
    statement.push_values(claims, |mut row, claim| {
        row.push_bind(claim.seq).push_bind(claim.fence);
    });
    statement.push(")");
}

/// The numbers of a list, for `json_each`: a list of any length in a statement whose text stays the same.
pub(super) fn list(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// Queues, for `json_each`: kind, group and handler of each.
pub(super) fn queues<'q>(queues: impl IntoIterator<Item = &'q WorkQueue>) -> String {
    let queues = queues.into_iter().map(|queue| serde_json::json!([queue.kind.as_str(), queue.group, queue.handler]));
    serde_json::Value::Array(queues.collect()).to_string()
}

/// The claim a row was taken with.
pub(super) fn claim(row: &SqliteRow) -> Result<Claim, sqlx::Error> {
    Ok(Claim { seq: row.try_get("seq")?, fence: row.try_get("fence")? })
}

/// The time in a row's column.
pub(super) fn time_of(row: &SqliteRow, column: &str) -> Result<SystemTime, sqlx::Error> {
    Ok(time(row.try_get(column)?))
}

/// The count in a row's column.
pub(super) fn number_of(row: &SqliteRow, column: &str) -> Result<u32, BoxError> {
    Ok(u32::try_from(row.try_get::<i64, _>(column)?)?)
}

/// The id in a row's column.
pub(super) fn id_of(row: &SqliteRow, column: &str) -> Result<Uuid, BoxError> {
    Ok(Uuid::from_slice(row.try_get(column)?)?)
}

/// The headers in a row.
pub(super) fn headers_of(row: &SqliteRow) -> Result<BTreeMap<String, String>, BoxError> {
    Ok(serde_json::from_str(row.try_get("headers")?)?)
}

/// Headers as they are stored.
pub(super) fn headers_text(headers: &BTreeMap<String, String>) -> Result<String, StoreError> {
    serde_json::to_string(headers)
        .map_err(|error| StoreError::new(StoreErrorKind::Database, "headers cannot be stored").with_source(error))
}

/// The id as it is stored.
pub(super) fn id_bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}
