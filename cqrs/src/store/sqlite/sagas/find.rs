//! Sagas: found, read, counted, swept.

use std::time::SystemTime;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

use super::rows::{self, saga_columns, step_columns};
use crate::BoxError;
use crate::store::sagas::words::{phase_of, progress_of};
use crate::store::sqlite::SqliteStore;
use crate::store::{SagaFilter, SagaLog, SagaRow, SagaStep, SagaUse, StoreError};

/// How many sagas one statement deletes, each with its steps and its log, and how many events: writers wait meanwhile.
const PURGED_AT_ONCE: u16 = 100;

/// In one statement: between two of them somebody may change the saga.
const SAGA: &str = concat!(
    "SELECT ",
    saga_columns!(),
    ", of_step.* FROM cqrs_sagas
    LEFT JOIN (SELECT ",
    step_columns!(),
    " FROM cqrs_saga_steps WHERE saga = ?1) AS of_step ON TRUE WHERE id = ?1"
);

/// The place in a list: started before, or at the very time and of a later id.
macro_rules! behind {
    () => {
        "started_at <= ?1 AND (?2 IS NULL OR started_at < ?1 OR id > ?2) ORDER BY started_at DESC, id LIMIT ?3"
    };
}

pub(in crate::store::sqlite) const LIST: &str =
    concat!("SELECT ", saga_columns!(), " FROM cqrs_sagas INDEXED BY cqrs_sagas_started WHERE ", behind!());

pub(in crate::store::sqlite) const LIST_NAMED: &str =
    concat!("SELECT ", saga_columns!(), " FROM cqrs_sagas INDEXED BY cqrs_sagas_name WHERE name = ?4 AND ", behind!());

pub(in crate::store::sqlite) const LIST_PHASE: &str = concat!(
    "SELECT ",
    saga_columns!(),
    " FROM cqrs_sagas INDEXED BY cqrs_sagas_phase WHERE phase = ?4 AND (?5 IS NULL OR name = ?5) AND ",
    behind!()
);

const LOG: &str = "
SELECT number, step, is_undo, attempt, began_at, ended_at, progress, error FROM cqrs_saga_log WHERE saga = ? ORDER BY number";

const IN_USE: &str = "
SELECT name, version, phase, NULL AS step, COUNT(*) AS uses FROM cqrs_sagas
WHERE phase IN ('forward', 'compensating', 'stuck') GROUP BY name, version, phase
UNION ALL
SELECT name, version, phase, step.step, COUNT(*) FROM cqrs_sagas AS saga CROSS JOIN cqrs_saga_steps AS step ON step.saga = saga.id
WHERE phase IN ('forward', 'compensating', 'stuck') GROUP BY name, version, phase, step.step";

pub(in crate::store::sqlite) const PURGE: &str = "
DELETE FROM cqrs_sagas WHERE seq IN (SELECT seq FROM cqrs_sagas WHERE ended_at < ? ORDER BY ended_at LIMIT ?) RETURNING id";

const PURGE_STEPS: &str = "DELETE FROM cqrs_saga_steps WHERE saga = ?";

const PURGE_LOG: &str = "DELETE FROM cqrs_saga_log WHERE saga = ?";

pub(in crate::store::sqlite) const PURGE_EVENTS: &str = "
DELETE FROM cqrs_saga_events
WHERE seq IN (SELECT seq FROM cqrs_saga_events WHERE arrived_at < ? ORDER BY arrived_at LIMIT ?)";

/// Every statement of this file.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[SAGA, LIST, LIST_NAMED, LIST_PHASE, LOG, IN_USE, PURGE, PURGE_STEPS, PURGE_LOG, PURGE_EVENTS];

pub(super) async fn saga(pool: &SqlitePool, id: String) -> Result<Option<(SagaRow, Vec<SagaStep>)>, sqlx::Error> {
    let found = sqlx::query(SAGA).bind(id).fetch_all(pool).await?;
    let Some(first) = found.first() else { return Ok(None) };
    let steps = found.iter().filter(|row| row.try_get::<Option<&str>, _>("step_name").is_ok_and(|name| name.is_some()));
    let steps = steps.map(rows::step).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)?;
    Ok(Some((rows::saga(first).map_err(sqlx::Error::Decode)?, steps)))
}

pub(super) async fn find(pool: &SqlitePool, filter: SagaFilter, limit: usize) -> Result<Vec<SagaRow>, sqlx::Error> {
    // Those of the very time are taken only from an id on.
    let tie = i64::from(filter.after_id.is_none());
    let until = filter.started_before.map_or(i64::MAX, |before| rows::micros(before) - tie);
    let after = filter.after_id.filter(|_| filter.started_before.is_some());
    let statement = match (&filter.phase, &filter.name) {
        (Some(_), _) => LIST_PHASE,
        (None, Some(_)) => LIST_NAMED,
        (None, None) => LIST,
    };
    let mut statement = sqlx::query(statement).bind(until).bind(after).bind(rows::limit(limit));
    if let Some(phase) = filter.phase {
        statement = statement.bind(phase.as_str());
    }
    if filter.phase.is_some() || filter.name.is_some() {
        statement = statement.bind(filter.name);
    }
    let found = statement.fetch_all(pool).await?;
    found.iter().map(rows::saga).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

pub(super) async fn log(pool: &SqlitePool, id: String) -> Result<Vec<SagaLog>, sqlx::Error> {
    let found = sqlx::query(LOG).bind(id).fetch_all(pool).await?;
    found.iter().map(entry).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

fn entry(row: &SqliteRow) -> Result<SagaLog, BoxError> {
    Ok(SagaLog {
        number: rows::number_of(row, "number")?,
        step: row.try_get("step")?,
        is_undo: row.try_get("is_undo")?,
        attempt: rows::number_of(row, "attempt")?,
        began_at: rows::time_of(row, "began_at")?,
        ended_at: rows::time_of(row, "ended_at")?,
        progress: progress_of(row.try_get("progress")?)?,
        error: row.try_get("error")?,
    })
}

pub(super) async fn in_use(pool: &SqlitePool) -> Result<Vec<SagaUse>, sqlx::Error> {
    let used = |row: &SqliteRow| -> Result<SagaUse, BoxError> {
        let count: i64 = row.try_get("uses")?;
        Ok(SagaUse {
            name: row.try_get("name")?,
            version: rows::number_of(row, "version")?,
            phase: phase_of(row.try_get("phase")?)?,
            step: row.try_get("step")?,
            count: count.unsigned_abs(),
        })
    };
    let found = sqlx::query(IN_USE).fetch_all(pool).await?;
    found.iter().map(used).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

impl SqliteStore {
    /// Deletes what ended before, and events that came before, a few at a time.
    pub(super) async fn purge_sagas(
        &self,
        ended_before: SystemTime,
        events_before: SystemTime,
    ) -> Result<u64, StoreError> {
        let mut purged = 0;
        loop {
            let count = self.purge_some(ended_before).await?;
            purged += count;
            if count < u64::from(PURGED_AT_ONCE) {
                break;
            }
        }
        loop {
            let few = sqlx::query(PURGE_EVENTS).bind(rows::micros(events_before)).bind(i64::from(PURGED_AT_ONCE));
            let count = self.named(few.execute(&self.writer).await)?.rows_affected();
            if count < u64::from(PURGED_AT_ONCE) {
                return Ok(purged);
            }
        }
    }

    async fn purge_some(&self, ended_before: SystemTime) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let few = sqlx::query_scalar(PURGE).bind(rows::micros(ended_before)).bind(i64::from(PURGED_AT_ONCE));
        let gone: Vec<String> = self.named(few.fetch_all(&mut *tx).await)?;
        for statement in [PURGE_STEPS, PURGE_LOG] {
            for id in &gone {
                self.named(sqlx::query(statement).bind(id.as_str()).execute(&mut *tx).await)?;
            }
        }
        tx.commit().await?;
        Ok(gone.len() as u64)
    }
}
