//! Sagas: found, read, counted, swept.

use std::time::SystemTime;

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use super::rows::{self, saga_columns, step_columns};
use crate::BoxError;
use crate::store::names::Names;
use crate::store::sagas::words::{phase_of, progress_of};
use crate::store::{SagaFilter, SagaLog, SagaRow, SagaStep, SagaUse};

/// How many sagas one statement deletes, each with its steps and its log.
const PURGED_AT_ONCE: u16 = 100;

/// How many events one statement deletes: so few that nobody waits for its locks for long.
const EVENTS_AT_ONCE: u16 = 1_000;

/// In one statement: between two of them somebody may change the saga.
const SAGA: &str = concat!(
    "SELECT ",
    saga_columns!(),
    ", of_step.* FROM cqrs_sagas
    LEFT JOIN (SELECT ",
    step_columns!(),
    " FROM cqrs_saga_steps WHERE saga = $1) AS of_step ON TRUE WHERE id = $1"
);

/// The place in a list: started before, or at the very time and of a later id.
macro_rules! behind {
    () => {
        "started_at <= $1 AND ($2::text IS NULL OR started_at < $1 OR id > $2) ORDER BY started_at DESC, id LIMIT $3"
    };
}

const LIST: &str = concat!("SELECT ", saga_columns!(), " FROM cqrs_sagas WHERE ", behind!());

const LIST_NAMED: &str = concat!("SELECT ", saga_columns!(), " FROM cqrs_sagas WHERE name = $4 AND ", behind!());

const LIST_PHASE: &str = concat!(
    "SELECT ",
    saga_columns!(),
    " FROM cqrs_sagas WHERE phase = $4 AND ($5::text IS NULL OR name = $5) AND ",
    behind!()
);

const LOG: &str = "
SELECT number, step, is_undo, attempt, began_at, ended_at, progress, error FROM cqrs_saga_log WHERE saga = $1 ORDER BY number";

const IN_USE: &str = "
SELECT name, version, phase, NULL AS step, COUNT(*) AS uses FROM cqrs_sagas
WHERE phase IN ('forward', 'compensating', 'stuck') GROUP BY name, version, phase
UNION ALL
SELECT name, version, phase, step.step, COUNT(*) FROM cqrs_sagas AS saga JOIN cqrs_saga_steps AS step ON step.saga = saga.id
WHERE phase IN ('forward', 'compensating', 'stuck') GROUP BY name, version, phase, step.step";

const PURGE: &str = "
WITH gone AS (
    DELETE FROM cqrs_sagas WHERE id = ANY (ARRAY(
        SELECT id FROM cqrs_sagas WHERE ended_at < $1 ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING id
), steps AS (
    DELETE FROM cqrs_saga_steps WHERE saga = ANY (ARRAY(SELECT id FROM gone))
), log AS (
    DELETE FROM cqrs_saga_log WHERE saga = ANY (ARRAY(SELECT id FROM gone))
)
SELECT COUNT(*) FROM gone";

const PURGE_EVENTS: &str = "
DELETE FROM cqrs_saga_events WHERE seq = ANY (ARRAY(
    SELECT seq FROM cqrs_saga_events WHERE arrived_at < $1 ORDER BY arrived_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// The statements of this file that are to scan no table. Counting is reading.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[SAGA, LIST, LIST_NAMED, LIST_PHASE, LOG, PURGE, PURGE_EVENTS];

pub(super) async fn saga(
    names: &Names,
    pool: &PgPool,
    id: String,
) -> Result<Option<(SagaRow, Vec<SagaStep>)>, sqlx::Error> {
    let found = sqlx::query(names.sql(SAGA)).bind(rows::escape(id)).fetch_all(pool).await?;
    let Some(first) = found.first() else { return Ok(None) };
    let steps = found.iter().filter(|row| row.try_get::<Option<&str>, _>("step_name").is_ok_and(|name| name.is_some()));
    let steps = steps.map(rows::step).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)?;
    Ok(Some((rows::saga(first).map_err(sqlx::Error::Decode)?, steps)))
}

pub(super) async fn find(
    names: &Names,
    pool: &PgPool,
    filter: SagaFilter,
    limit: usize,
) -> Result<Vec<SagaRow>, sqlx::Error> {
    // Those of the very time are taken only from an id on.
    let tie = i64::from(filter.after_id.is_none());
    let until = filter.started_before.map_or(i64::MAX, |before| rows::micros(before) - tie);
    let after = filter.after_id.filter(|_| filter.started_before.is_some()).map(rows::escape);
    let statement = match (&filter.phase, &filter.name) {
        (Some(_), _) => LIST_PHASE,
        (None, Some(_)) => LIST_NAMED,
        (None, None) => LIST,
    };
    let mut statement = sqlx::query(names.sql(statement)).bind(until).bind(after).bind(rows::limit(limit));
    if let Some(phase) = filter.phase {
        statement = statement.bind(phase.as_str());
    }
    if filter.phase.is_some() || filter.name.is_some() {
        statement = statement.bind(filter.name.map(rows::escape));
    }
    let found = statement.fetch_all(pool).await?;
    found.iter().map(rows::saga).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

pub(super) async fn log(names: &Names, pool: &PgPool, id: String) -> Result<Vec<SagaLog>, sqlx::Error> {
    let found = sqlx::query(names.sql(LOG)).bind(rows::escape(id)).fetch_all(pool).await?;
    found.iter().map(entry).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

fn entry(row: &PgRow) -> Result<SagaLog, BoxError> {
    Ok(SagaLog {
        number: rows::number_of(row, "number")?,
        step: rows::text_of(row, "step")?,
        is_undo: row.try_get("is_undo")?,
        attempt: rows::number_of(row, "attempt")?,
        began_at: rows::time_of(row, "began_at")?,
        ended_at: rows::time_of(row, "ended_at")?,
        progress: progress_of(row.try_get("progress")?)?,
        error: row.try_get("error")?,
    })
}

pub(super) async fn in_use(names: &Names, pool: &PgPool) -> Result<Vec<SagaUse>, sqlx::Error> {
    let used = |row: &PgRow| -> Result<SagaUse, BoxError> {
        let count: i64 = row.try_get("uses")?;
        Ok(SagaUse {
            name: rows::text_of(row, "name")?,
            version: rows::number_of(row, "version")?,
            phase: phase_of(row.try_get("phase")?)?,
            step: rows::maybe_text_of(row, "step")?,
            count: count.unsigned_abs(),
        })
    };
    let found = sqlx::query(names.sql(IN_USE)).fetch_all(pool).await?;
    found.iter().map(used).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

/// Deletes what ended before, and events that came before, a few at a time.
pub(super) async fn purge(
    names: &Names,
    pool: &PgPool,
    ended_before: SystemTime,
    events_before: SystemTime,
) -> Result<u64, sqlx::Error> {
    let mut purged = 0;
    loop {
        let few = sqlx::query_scalar(names.sql(PURGE)).bind(rows::micros(ended_before)).bind(i64::from(PURGED_AT_ONCE));
        let count: i64 = few.fetch_one(pool).await?;
        purged += count.unsigned_abs();
        if count < i64::from(PURGED_AT_ONCE) {
            break;
        }
    }
    loop {
        let few = sqlx::query(names.sql(PURGE_EVENTS)).bind(rows::micros(events_before));
        let count = few.bind(i64::from(EVENTS_AT_ONCE)).execute(pool).await?.rows_affected();
        if count < u64::from(EVENTS_AT_ONCE) {
            return Ok(purged);
        }
    }
}
