//! Timers: moved, cancelled, listed.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::rows;
use crate::store::{StoreError, TimerRecord, WorkKind, WorkRecord, timers};

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
/// is the one that counts, also among the records themselves. It keeps the id of the one it takes the place of: to whoever
/// lists or named it, it is the same timer. Gives those that do, each by the id it came with and the id it has.
///
/// A timer that is claimed stays: it is being done while the new one is stored, often by its own handler, and the new
/// one is another. Should it fail, both wait, until one is stored or cancelled again.
pub(super) async fn replace(
    connection: &mut SqliteConnection,
    records: Vec<WorkRecord>,
) -> Result<(Vec<WorkRecord>, Vec<(Uuid, Uuid)>), StoreError> {
    let last = timers::last_of(&records, key_of);
    if last.is_empty() {
        return Ok((records, Vec::new()));
    }
    let kept_ids = remove(connection, last.keys().cloned().collect()).await?;
    Ok(timers::replaced(records, key_of, &last, &kept_ids))
}

/// Deletes timers by name and key. Gives the id of each; where several waited, that of the last.
async fn remove(
    connection: &mut SqliteConnection,
    keys: Vec<(String, String)>,
) -> Result<HashMap<(String, String), Uuid>, StoreError> {
    let mut removed = Vec::new();
    for keys in rows::chunks(keys, rows::rows_per_statement(2)) {
        let count = keys.len();
        for row in rows::fetch(connection, replacing(keys), count).await? {
            // A row that cannot be read leaves no id to keep.
            if let Ok(id) = rows::id_of(&row, "id") {
                let seq: i64 = row.try_get("seq")?;
                removed.push((seq, (row.try_get("name")?, row.try_get("timer_key")?), id));
            }
        }
    }
    removed.sort_unstable_by_key(|(seq, ..)| *seq);
    Ok(removed.into_iter().map(|(_, key, id)| (key, id)).collect())
}

pub(super) fn replacing(keys: Vec<(String, String)>) -> QueryBuilder<Sqlite> {
    let mut statement = QueryBuilder::new(
        "DELETE FROM cqrs_work WHERE kind = 'timer' AND state IN ('ready', 'waiting') AND timer_key IS NOT NULL \
         AND (name, timer_key) IN (",
    );
    statement.push_values(keys, |mut row, (name, key)| {
        row.push_bind(name).push_bind(key);
    });
    statement.push(") RETURNING seq, id, name, timer_key");
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
    sqlx::query(LIST).bind(rows::limit(limit)).fetch_all(pool).await?.iter().map(read).collect()
}

pub(super) fn read(row: &SqliteRow) -> Result<TimerRecord, sqlx::Error> {
    Ok(TimerRecord {
        id: rows::id_of(row, "id").unwrap_or(Uuid::nil()),
        name: row.try_get("name")?,
        key: row.try_get("timer_key")?,
        due_at: rows::time_of(row, "due_at")?,
    })
}
