//! Between records and rows: times, headers, and lists for `unnest`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::BoxError;
use crate::store::{Claim, StoreError, StoreErrorKind, WorkQueue};

/// Queues as three lists, for `unnest`: kinds, groups and handlers.
#[derive(Debug, Clone, Default)]
pub(super) struct Queues {
    pub(super) kinds: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) handlers: Vec<String>,
}

impl Queues {
    pub(super) fn new<'q>(queues: impl IntoIterator<Item = &'q WorkQueue>) -> Self {
        let mut lists = Self::default();
        for queue in queues {
            lists.kinds.push(queue.kind.as_str().to_owned());
            lists.groups.push(queue.group.clone());
            lists.handlers.push(queue.handler.clone());
        }
        lists
    }
}

/// Claims as two lists, for `unnest`: numbers and fences.
pub(super) fn lists(claims: &[Claim]) -> (Vec<i64>, Vec<i64>) {
    claims.iter().map(|claim| (claim.seq, claim.fence)).unzip()
}

/// The claim a row was taken with.
pub(super) fn claim(row: &PgRow) -> Result<Claim, sqlx::Error> {
    Ok(Claim { seq: row.try_get("seq")?, fence: row.try_get("fence")? })
}

/// A time as it is stored. Below the microsecond it is cut off, for due dates and for the clock alike.
pub(super) fn micros(time: SystemTime) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => whole(after),
        Err(before) => -whole(before.duration()),
    }
}

/// A stored time.
pub(super) fn time(micros: i64) -> SystemTime {
    let span = Duration::from_micros(micros.unsigned_abs());
    let time =
        if micros < 0 { SystemTime::UNIX_EPOCH.checked_sub(span) } else { SystemTime::UNIX_EPOCH.checked_add(span) };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The time in a row's column.
pub(super) fn time_of(row: &PgRow, column: &str) -> Result<SystemTime, sqlx::Error> {
    Ok(time(row.try_get(column)?))
}

/// The count in a row's column.
pub(super) fn number_of(row: &PgRow, column: &str) -> Result<u32, BoxError> {
    Ok(u32::try_from(row.try_get::<i32, _>(column)?)?)
}

/// A version or a number of attempts as it is stored.
pub(super) fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The headers in a row.
pub(super) fn headers_of(row: &PgRow) -> Result<BTreeMap<String, String>, BoxError> {
    Ok(serde_json::from_str(row.try_get("headers")?)?)
}

/// Headers as they are stored.
pub(super) fn headers_text(headers: &BTreeMap<String, String>) -> Result<String, StoreError> {
    serde_json::to_string(headers)
        .map_err(|error| StoreError::new(StoreErrorKind::Database, "headers cannot be stored").with_source(error))
}

/// A limit as PostgreSQL takes it.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
