//! Timers: moved, cancelled, listed.

use std::collections::HashMap;

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};
use uuid::Uuid;

use super::{MySqlStore, rows, work};
use crate::store::names::Names;
use crate::store::{StoreError, TimerRecord, WorkKind, WorkRecord, timers};

/// A timer that is claimed is being done, and can neither be moved nor cancelled.
const CANCEL: &str = "DELETE FROM cqrs_work WHERE timer_digest = ? AND state IN ('ready', 'waiting')";

/// `NOT IN`, so that the index by time is used, which gives the order, and not the one by state.
pub(super) const LIST: &str = "
SELECT id, name, timer_key, due_at FROM cqrs_work FORCE INDEX (cqrs_work_timer_due)
WHERE timer_due IS NOT NULL AND state NOT IN ('claimed', 'dead') ORDER BY timer_due, seq LIMIT ?";

const REPLACED: &str = "
SELECT seq, id, timer_digest FROM cqrs_work FORCE INDEX (cqrs_work_timer)
WHERE timer_digest IN (#) AND state IN ('ready', 'waiting') ORDER BY timer_digest, seq FOR UPDATE";

const REMOVE: &str = "DELETE mine FROM cqrs_work AS mine FORCE INDEX (PRIMARY) WHERE mine.seq IN (#)";

/// Two transactions that store the same timer for the first time: the later one moves what the earlier one has stored.
/// The fence moves on to make the row another one, whatever is in it: a row left as it was is not counted as moved.
const MOVE: &str = "
ON DUPLICATE KEY UPDATE version = VALUES(version), payload = VALUES(payload), headers = VALUES(headers),
    created_at = VALUES(created_at), state = VALUES(state), due_at = VALUES(due_at), attempts = 0, error = NULL,
    deferred_since = NULL, fence = fence + 1";

const KEPT: &str = "SELECT id, timer_slot FROM cqrs_work WHERE timer_slot IN (#)";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[CANCEL, LIST, REPLACED, REMOVE, KEPT];

/// Makes room for timers: deletes those of the same name and key that are not being done, so that the last one stored
/// is the one that counts, also among the records themselves. It keeps the id of the one it takes the place of: to whoever
/// lists or named it, it is the same timer. Gives those that do, each by the id it came with and the id it has.
///
/// A timer that is claimed stays: it is being done while the new one is stored, often by its own handler, and the new
/// one is another. Should it fail, both wait, until one is stored or cancelled again.
pub(super) async fn replace(
    connection: &mut MySqlConnection,
    names: &Names,
    records: Vec<WorkRecord>,
) -> Result<(Vec<WorkRecord>, Vec<(Uuid, Uuid)>), StoreError> {
    let last = timers::last_of(&records, slot_of);
    if last.is_empty() {
        return Ok((records, Vec::new()));
    }
    let mut slots: Vec<Vec<u8>> = last.keys().cloned().collect();
    slots.sort_unstable();
    let kept_ids = remove(connection, names, slots).await?;
    Ok(timers::replaced(records, slot_of, &last, &kept_ids))
}

/// Deletes timers by name and key. Gives the id of each; where several waited, that of the last.
async fn remove(
    connection: &mut MySqlConnection,
    names: &Names,
    slots: Vec<Vec<u8>>,
) -> Result<HashMap<Vec<u8>, Uuid>, StoreError> {
    let mut removed = HashMap::new();
    for slots in rows::chunks(slots, |_| 32) {
        let slots: Vec<&[u8]> = slots.iter().map(Vec::as_slice).collect();
        let mut numbers: Vec<i64> = Vec::new();
        for row in rows::listed(names, REPLACED, &slots).fetch_all(&mut *connection).await? {
            numbers.push(row.try_get("seq")?);
            // A row that cannot be read leaves no id to keep.
            if let Ok(id) = rows::id_of(&row, "id") {
                removed.insert(row.try_get::<Vec<u8>, _>("timer_digest")?, id);
            }
        }
        if !numbers.is_empty() {
            rows::listed(names, REMOVE, &numbers).execute(&mut *connection).await?;
        }
    }
    Ok(removed)
}

/// Stores timers, each of another name and key, which nobody else has stored as far as is known. Gives those that were all
/// the same, each by the id it came with and the id it has.
pub(super) async fn insert(
    connection: &mut MySqlConnection,
    names: &Names,
    mut timers: Vec<WorkRecord>,
) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
    // In one order: two transactions with the same timers must not wait for one another.
    timers.sort_by_cached_key(slot_of);
    let mut moved = Vec::new();
    for few in rows::chunks(timers, work::bytes_of) {
        let own: HashMap<Vec<u8>, Uuid> = few.iter().filter_map(|timer| Some((slot_of(timer)?, timer.id))).collect();
        let count = u64::try_from(few.len()).unwrap_or(u64::MAX);
        // One that was stored counts once, one that was moved twice.
        if work::insert_some(connection, names, few, &names.text(MOVE)).await? == count {
            continue;
        }
        let slots: Vec<&[u8]> = own.keys().map(Vec::as_slice).collect();
        for row in rows::listed(names, KEPT, &slots).fetch_all(&mut *connection).await? {
            let slot: Vec<u8> = row.try_get("timer_slot")?;
            if let (Some(own), Ok(kept)) = (own.get(&slot), rows::id_of(&row, "id"))
                && *own != kept
            {
                moved.push((*own, kept));
            }
        }
    }
    Ok(moved)
}

/// By what a timer is found that can be moved or cancelled.
pub(super) fn digest_of(record: &WorkRecord) -> Option<Vec<u8>> {
    let key = record.timer_key.as_ref().filter(|_| record.kind == WorkKind::Timer)?;
    Some(rows::digest(&[&record.name, key]).to_vec())
}

/// The same, where there is one such timer.
pub(super) fn slot_of(record: &WorkRecord) -> Option<Vec<u8>> {
    digest_of(record).filter(|_| !record.dead)
}

impl MySqlStore {
    pub(super) async fn cancel(&self, name: String, key: String) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let statement = sqlx::query(self.names.sql(CANCEL)).bind(rows::digest(&[&name, &key]).to_vec());
        let cancelled = self.named(statement.execute(&mut *tx).await)?.rows_affected();
        self.named(tx.commit().await)?;
        Ok(cancelled > 0)
    }

    pub(super) async fn list_timers(&self, limit: usize) -> Result<Vec<TimerRecord>, StoreError> {
        let found = sqlx::query(self.names.sql(LIST)).bind(rows::limit(limit)).fetch_all(&self.pool).await;
        self.named(found)?.iter().map(|row| Ok(read(row)?)).collect()
    }
}

pub(super) fn read(row: &MySqlRow) -> Result<TimerRecord, sqlx::Error> {
    Ok(TimerRecord {
        id: rows::id_of(row, "id").unwrap_or(Uuid::nil()),
        name: rows::text_of(row, "name").unwrap_or_default(),
        key: rows::some_text_of(row, "timer_key").unwrap_or_default(),
        due_at: rows::time_of(row, "due_at")?,
    })
}
