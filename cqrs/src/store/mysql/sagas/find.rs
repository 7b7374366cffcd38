//! Sagas: found, read, counted, swept.

use std::time::SystemTime;

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlPool, Row};

use super::rows::{self, saga_columns, step_columns};
use crate::BoxError;
use crate::store::mysql::MySqlStore;
use crate::store::names::Names;
use crate::store::sagas::words::{phase_of, progress_of};
use crate::store::{SagaFilter, SagaLog, SagaRow, SagaStep, SagaUse};

/// How many sagas one transaction deletes, each with its steps and its log.
const PURGED_AT_ONCE: u16 = 100;

/// How many events one statement deletes: so few that writers hardly wait.
const EVENTS_AT_ONCE: u16 = 1_000;

/// In one statement: between two of them somebody may change the saga.
const SAGA: &str = concat!(
    "SELECT ",
    saga_columns!(),
    ", of_step.* FROM cqrs_sagas LEFT JOIN (SELECT ",
    step_columns!(),
    " FROM cqrs_saga_steps WHERE saga = ?) AS of_step ON TRUE WHERE id = ?"
);

/// The place in a list: started before, or at the very time and of a later id.
macro_rules! behind {
    () => {
        "newest >= ? AND (? IS NULL OR newest > ? OR id > ?) ORDER BY newest, id LIMIT ?"
    };
}

pub(in crate::store::mysql) const LIST: &str =
    concat!("SELECT ", saga_columns!(), " FROM cqrs_sagas FORCE INDEX (cqrs_sagas_started) WHERE ", behind!());

pub(in crate::store::mysql) const LIST_NAMED: &str = concat!(
    "SELECT ",
    saga_columns!(),
    " FROM cqrs_sagas FORCE INDEX (cqrs_sagas_name) WHERE name = ? AND ",
    behind!()
);

pub(in crate::store::mysql) const LIST_PHASE: &str = concat!(
    "SELECT ",
    saga_columns!(),
    " FROM cqrs_sagas FORCE INDEX (cqrs_sagas_phase) WHERE phase = ? AND (? IS NULL OR name = ?) AND ",
    behind!()
);

const LOG: &str = "
SELECT number, step, is_undo, attempt, began_at, ended_at, progress, error FROM cqrs_saga_log WHERE saga = ? ORDER BY number";

const IN_USE: &str = "
SELECT name, version, phase, NULL AS step, COUNT(*) AS uses FROM cqrs_sagas FORCE INDEX (cqrs_sagas_phase)
WHERE phase IN ('forward', 'compensating', 'stuck') GROUP BY name, version, phase
UNION ALL
SELECT name, version, phase, step.step, COUNT(*) FROM cqrs_sagas AS saga FORCE INDEX (cqrs_sagas_phase)
STRAIGHT_JOIN cqrs_saga_steps AS step ON step.saga = saga.id
WHERE phase IN ('forward', 'compensating', 'stuck') GROUP BY name, version, phase, step.step";

pub(in crate::store::mysql) const ENDED: &str = "
SELECT id FROM cqrs_sagas FORCE INDEX (cqrs_sagas_ended) WHERE ended_at < ? ORDER BY ended_at LIMIT ?";

const LOCK_ENDED: &str = "
SELECT id FROM cqrs_sagas FORCE INDEX (PRIMARY) WHERE id IN (#) AND ended_at < ? ORDER BY id FOR UPDATE SKIP LOCKED";

const PURGE: &str = "DELETE FROM cqrs_sagas WHERE id IN (#)";

const PURGE_STEPS: &str = "DELETE FROM cqrs_saga_steps WHERE saga IN (#)";

const PURGE_LOG: &str = "DELETE FROM cqrs_saga_log WHERE saga IN (#)";

pub(in crate::store::mysql) const PURGE_EVENTS: &str =
    "DELETE FROM cqrs_saga_events WHERE arrived_at < ? ORDER BY arrived_at LIMIT ?";

/// Every statement of this file.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[SAGA, LIST, LIST_NAMED, LIST_PHASE, LOG, IN_USE, ENDED, LOCK_ENDED, PURGE, PURGE_STEPS, PURGE_LOG, PURGE_EVENTS];

pub(super) async fn saga(
    pool: &MySqlPool,
    names: &Names,
    id: Vec<u8>,
) -> Result<Option<(SagaRow, Vec<SagaStep>)>, sqlx::Error> {
    let found = sqlx::query(names.sql(SAGA)).bind(id.as_slice()).bind(id.as_slice()).fetch_all(pool).await?;
    let Some(first) = found.first() else { return Ok(None) };
    let is_there = |row: &&MySqlRow| row.try_get::<Option<&[u8]>, _>("step_name").is_ok_and(|name| name.is_some());
    let steps = found.iter().filter(is_there).map(rows::step).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)?;
    Ok(Some((rows::saga(first).map_err(sqlx::Error::Decode)?, steps)))
}

pub(super) async fn find(
    pool: &MySqlPool,
    names: &Names,
    filter: SagaFilter,
    limit: usize,
) -> Result<Vec<SagaRow>, sqlx::Error> {
    // Those of the very time are taken only from an id on.
    let tie = i64::from(filter.after_id.is_none());
    let newest = filter.started_before.map_or(-i64::MAX, |before| tie - rows::micros(before));
    let after = filter.after_id.filter(|_| filter.started_before.is_some()).map(String::into_bytes);
    let name = filter.name.map(String::into_bytes);
    let statement = match (filter.phase, name) {
        (Some(phase), name) => {
            sqlx::query(names.sql(LIST_PHASE)).bind(phase.as_str().as_bytes()).bind(name.clone()).bind(name)
        }
        (None, Some(name)) => sqlx::query(names.sql(LIST_NAMED)).bind(name),
        (None, None) => sqlx::query(names.sql(LIST)),
    };
    let statement = statement.bind(newest).bind(after.clone()).bind(newest).bind(after).bind(rows::limit(limit));
    let found = statement.fetch_all(pool).await?;
    found.iter().map(rows::saga).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

pub(super) async fn log(pool: &MySqlPool, names: &Names, id: Vec<u8>) -> Result<Vec<SagaLog>, sqlx::Error> {
    let found = sqlx::query(names.sql(LOG)).bind(id).fetch_all(pool).await?;
    found.iter().map(entry).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

fn entry(row: &MySqlRow) -> Result<SagaLog, BoxError> {
    Ok(SagaLog {
        number: rows::number_of(row, "number")?,
        step: rows::text_of(row, "step")?,
        is_undo: row.try_get("is_undo")?,
        attempt: rows::number_of(row, "attempt")?,
        began_at: rows::time_of(row, "began_at")?,
        ended_at: rows::time_of(row, "ended_at")?,
        progress: progress_of(&rows::text_of(row, "progress")?)?,
        error: rows::some_text_of(row, "error")?,
    })
}

pub(super) async fn in_use(pool: &MySqlPool, names: &Names) -> Result<Vec<SagaUse>, sqlx::Error> {
    let used = |row: &MySqlRow| -> Result<SagaUse, BoxError> {
        let count: i64 = row.try_get("uses")?;
        Ok(SagaUse {
            name: rows::text_of(row, "name")?,
            version: rows::number_of(row, "version")?,
            phase: phase_of(&rows::text_of(row, "phase")?)?,
            step: rows::some_text_of(row, "step")?,
            count: count.unsigned_abs(),
        })
    };
    let found = sqlx::query(names.sql(IN_USE)).fetch_all(pool).await?;
    found.iter().map(used).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

impl MySqlStore {
    /// Deletes what ended before, and events that came before, a few at a time.
    pub(super) async fn purge_sagas(
        &self,
        ended_before: SystemTime,
        events_before: SystemTime,
    ) -> Result<u64, sqlx::Error> {
        let mut purged = 0;
        loop {
            let count = self.purge_some_sagas(rows::micros(ended_before)).await?;
            purged += count;
            if count < u64::from(PURGED_AT_ONCE) {
                break;
            }
        }
        loop {
            let mut tx = self.transaction().await?;
            let few = sqlx::query(self.names.sql(PURGE_EVENTS)).bind(rows::micros(events_before)).bind(EVENTS_AT_ONCE);
            let count = few.execute(&mut *tx).await?.rows_affected();
            tx.commit().await?;
            if count < u64::from(EVENTS_AT_ONCE) {
                return Ok(purged);
            }
        }
    }

    async fn purge_some_sagas(&self, before: i64) -> Result<u64, sqlx::Error> {
        let found = sqlx::query_scalar(self.names.sql(ENDED)).bind(before).bind(PURGED_AT_ONCE);
        let found: Vec<Vec<u8>> = found.fetch_all(&self.pool).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let mut tx = self.transaction().await?;
        let locked = rows::listed(&self.names, LOCK_ENDED, &rows::slices(&found)).bind(before);
        let locked = locked.fetch_all(&mut *tx).await?;
        let locked = locked.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Vec<u8>>, _>>()?;
        if !locked.is_empty() {
            for statement in [PURGE_STEPS, PURGE_LOG, PURGE] {
                rows::listed(&self.names, statement, &rows::slices(&locked)).execute(&mut *tx).await?;
            }
        }
        tx.commit().await?;
        Ok(locked.len() as u64)
    }
}
