//! Timers: moved, cancelled, listed.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::rows;
use crate::store::{StoreError, TimerRecord, WorkKind, WorkRecord};

/// A timer that is claimed is being done, and can neither be moved nor cancelled.
const CANCEL: &str = "
DELETE FROM cqrs_work
WHERE kind = 'timer' AND name = ? AND timer_key = ? AND state IN ('ready', 'waiting')";

/// `NOT IN`, so that the index by time is used, which gives the order, and not the one by state.
const LIST: &str = "
SELECT id, name, timer_key, due_at FROM cqrs_work
WHERE kind = 'timer' AND state NOT IN ('claimed', 'dead')
ORDER BY due_at, seq LIMIT ?";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[CANCEL, LIST];

/// Makes room for timers: deletes those of the same name and key that are not being done, so that the last one stored
/// is the one that counts, also among the records themselves.
///
/// A timer that is claimed stays: it is being done while the new one is stored, often by its own handler, and the new
/// one is another. Should it fail, both wait, until one is stored or cancelled again.
pub(super) async fn replace(
    connection: &mut SqliteConnection,
    records: Vec<WorkRecord>,
) -> Result<Vec<WorkRecord>, StoreError> {
    let mut keys = HashSet::new();
    let mut kept: Vec<WorkRecord> = Vec::with_capacity(records.len());
    for record in records.into_iter().rev() {
        let first = match key_of(&record) {
            Some(key) => keys.insert(key),
            None => true,
        };
        if first {
            kept.push(record);
        }
    }
    kept.reverse();
    for keys in rows::chunks(keys.into_iter().collect(), rows::rows_per_statement(2)) {
        let count = keys.len();
        rows::run(connection, replacing(keys), count).await?;
    }
    Ok(kept)
}

pub(super) fn replacing(keys: Vec<(String, String)>) -> QueryBuilder<Sqlite> {
    let mut statement = QueryBuilder::new(
        "DELETE FROM cqrs_work WHERE kind = 'timer' AND state IN ('ready', 'waiting') AND timer_key IS NOT NULL \
         AND (name, timer_key) IN (",
    );
    statement.push_values(keys, |mut row, (name, key)| {
        row.push_bind(name).push_bind(key);
    });
    statement.push(")");
    statement
}

fn key_of(record: &WorkRecord) -> Option<(String, String)> {
    if record.kind != WorkKind::Timer || record.dead {
        return None;
    }
    Some((record.name.clone(), record.timer_key.clone()?))
}

pub(super) async fn cancel(writer: &SqlitePool, name: String, key: String) -> Result<bool, sqlx::Error> {
    let end = sqlx::query(CANCEL).bind(name).bind(key).execute(writer).await?;
    Ok(end.rows_affected() > 0)
}

pub(super) async fn list(pool: &SqlitePool, limit: usize) -> Result<Vec<TimerRecord>, sqlx::Error> {
    let found = sqlx::query(LIST).bind(rows::limit(limit)).fetch_all(pool).await?;
    found
        .iter()
        .map(|row| {
            Ok(TimerRecord {
                id: rows::id_of(row, "id").unwrap_or(Uuid::nil()),
                name: row.try_get("name")?,
                key: row.try_get("timer_key")?,
                due_at: rows::time_of(row, "due_at")?,
            })
        })
        .collect()
}
