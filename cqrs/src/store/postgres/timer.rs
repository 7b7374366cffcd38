//! Timers: moved, cancelled, listed.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::rows;
use crate::store::names::Names;
use crate::store::{StoreError, TimerRecord, WorkKind, WorkRecord, timers};

/// A timer that is claimed is being done, and can neither be moved nor cancelled.
const CANCEL: &str = "
DELETE FROM cqrs_work
WHERE kind = 'timer' AND name = $1 AND timer_key = $2 AND state IN ('ready', 'waiting')";

const LIST: &str = "
SELECT id, name, timer_key, due_at FROM cqrs_work
WHERE kind = 'timer' AND state NOT IN ('claimed', 'dead')
ORDER BY due_at, seq LIMIT $1";

/// Two transactions that store a timer of the same name and key do so one after the other: neither sees the other's.
const LOCK: &str = "SELECT pg_advisory_xact_lock(number) FROM unnest($1::bigint[]) AS number";

const REPLACE: &str = "
DELETE FROM cqrs_work AS old USING unnest($1::text[], $2::text[]) AS wanted (name, timer_key)
WHERE old.kind = 'timer' AND old.timer_key IS NOT NULL AND old.state IN ('ready', 'waiting')
    AND old.name = wanted.name AND old.timer_key = wanted.timer_key
RETURNING old.seq, old.id, old.name, old.timer_key";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[CANCEL, LIST, REPLACE];

type Key = (String, String);

/// Makes room for timers: deletes those of the same name and key that are not being done, so that the last one stored
/// is the one that counts, also among the records themselves. It keeps the id of the one it takes the place of: to whoever
/// lists or named it, it is the same timer. Gives those that do, each by the id it came with and the id it has.
///
/// A timer that is claimed stays: it is being done while the new one is stored, often by its own handler, and the new
/// one is another. Should it fail, both wait, until one is stored or cancelled again.
pub(super) async fn replace(
    names: &Names,
    connection: &mut PgConnection,
    records: Vec<WorkRecord>,
) -> Result<(Vec<WorkRecord>, Vec<(Uuid, Uuid)>), StoreError> {
    let last = timers::last_of(&records, key_of);
    if last.is_empty() {
        return Ok((records, Vec::new()));
    }
    let kept_ids = remove(names, connection, last.keys().cloned().collect()).await?;
    Ok(timers::replaced(records, key_of, &last, &kept_ids))
}

/// Deletes timers by name and key. Gives the id of each; where several waited, that of the last.
async fn remove(
    names: &Names,
    connection: &mut PgConnection,
    keys: Vec<Key>,
) -> Result<HashMap<Key, Uuid>, StoreError> {
    let mut locks: Vec<i64> = keys.iter().map(|(name, key)| names.lock(&["timer", name, key])).collect();
    // In one order, so that two transactions do not wait for one another.
    locks.sort_unstable();
    sqlx::query(names.sql(LOCK)).bind(locks).execute(&mut *connection).await?;
    let stored = keys.into_iter().map(|(name, key)| (rows::escape(name), rows::escape(key)));
    let (list, timer_keys): (Vec<String>, Vec<String>) = stored.unzip();
    let mut removed: Vec<(i64, Uuid, String, String)> =
        sqlx::query_as(names.sql(REPLACE)).bind(list).bind(timer_keys).fetch_all(connection).await?;
    removed.sort_unstable_by_key(|(seq, ..)| *seq);
    let as_it_was = |(_, id, name, key)| ((rows::unescaped(name), rows::unescaped(key)), id);
    Ok(removed.into_iter().map(as_it_was).collect())
}

fn key_of(record: &WorkRecord) -> Option<Key> {
    if record.kind != WorkKind::Timer || record.dead {
        return None;
    }
    Some((record.name.clone(), record.timer_key.clone()?))
}

pub(super) async fn cancel(names: &Names, pool: &PgPool, name: String, key: String) -> Result<bool, sqlx::Error> {
    let end = sqlx::query(names.sql(CANCEL)).bind(rows::escape(name)).bind(rows::escape(key)).execute(pool).await?;
    Ok(end.rows_affected() > 0)
}

pub(super) async fn list(names: &Names, pool: &PgPool, limit: usize) -> Result<Vec<TimerRecord>, sqlx::Error> {
    sqlx::query(names.sql(LIST)).bind(rows::limit(limit)).fetch_all(pool).await?.iter().map(read).collect()
}

pub(super) fn read(row: &PgRow) -> Result<TimerRecord, sqlx::Error> {
    Ok(TimerRecord {
        id: row.try_get("id")?,
        name: rows::text_of(row, "name")?,
        key: rows::maybe_text_of(row, "timer_key")?,
        due_at: rows::time_of(row, "due_at")?,
    })
}
