//! Sagas looked at, and forgotten.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row};

use super::super::{SqliteStore, rows};
use crate::BoxError;
use crate::store::{
    AwaitedEvent, SagaAsked, SagaFilter, SagaLog, SagaPhase, SagaProgress, SagaRow, SagaStep, SagaUse, SagaWait,
    StoreError, StoreErrorKind,
};

/// How many sagas one transaction deletes: writers wait meanwhile.
const PURGED_AT_ONCE: i64 = 100;

const SAGA: &str = "SELECT * FROM cqrs_sagas WHERE id = ?";

pub(super) const STEPS: &str = "SELECT * FROM cqrs_saga_steps WHERE saga = ?";

const LOG: &str = "SELECT * FROM cqrs_saga_log WHERE saga = ? ORDER BY number";

const AWAITED: &str = "SELECT * FROM cqrs_saga_events WHERE wait_key = ? AND event = ? AND saga = ? ORDER BY seq";

const IN_USE: &str = "
SELECT name, version, NULL AS step, COUNT(*) AS count FROM cqrs_sagas
WHERE phase IN ('forward', 'compensating', 'stuck') GROUP BY name, version
UNION ALL
SELECT saga.name, saga.version, step.step, COUNT(*) FROM cqrs_sagas AS saga CROSS JOIN cqrs_saga_steps AS step ON step.saga = saga.id
WHERE saga.phase IN ('forward', 'compensating', 'stuck') GROUP BY saga.name, saga.version, step.step";

const ENDED: &str = "
SELECT id FROM cqrs_sagas WHERE phase IN ('completed', 'compensated') AND changed_at < ? ORDER BY changed_at LIMIT ?";

const DELETE: [&str; 3] = [
    "DELETE FROM cqrs_saga_steps WHERE saga IN (SELECT value FROM json_each(?))",
    "DELETE FROM cqrs_saga_log WHERE saga IN (SELECT value FROM json_each(?))",
    "DELETE FROM cqrs_sagas WHERE id IN (SELECT value FROM json_each(?))",
];

const PURGE_EVENTS: &str = "
DELETE FROM cqrs_saga_events WHERE seq IN (SELECT seq FROM cqrs_saga_events WHERE came_at < ? LIMIT ?)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[SAGA, STEPS, LOG, AWAITED, ENDED, DELETE[0], DELETE[1], DELETE[2], PURGE_EVENTS];

/// What a column says that is no word of ours.
fn odd(what: &str, word: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Database, format!("`{word}` is no {what} of a saga"))
}

fn read(error: BoxError) -> StoreError {
    StoreError::new(StoreErrorKind::Database, "a row of a saga cannot be read").with_source(error)
}

pub(super) fn row_of(row: &SqliteRow) -> Result<SagaRow, StoreError> {
    let (phase, asked): (&str, Option<&str>) = (row.try_get("phase")?, row.try_get("asked")?);
    Ok(SagaRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        version: rows::number_of(row, "version").map_err(read)?,
        phase: SagaPhase::parse(phase).ok_or_else(|| odd("phase", phase))?,
        why: row.try_get("why")?,
        context: row.try_get("context")?,
        headers: rows::headers_of(row).map_err(read)?,
        is_cancelled: row.try_get("is_cancelled")?,
        cuts: rows::number_of(row, "cuts").map_err(read)?,
        asked: asked.and_then(SagaAsked::parse),
        error: row.try_get("error")?,
        logged: rows::number_of(row, "logged").map_err(read)?,
        started_at: rows::time_of(row, "started_at")?,
        changed_at: rows::time_of(row, "changed_at")?,
        due_at: row.try_get::<Option<i64>, _>("due_at")?.map(rows::time),
        is_held: row.try_get::<Option<&str>, _>("owner")?.is_some(),
    })
}

fn progress_of(row: &SqliteRow) -> Result<SagaProgress, StoreError> {
    let progress: &str = row.try_get("progress")?;
    SagaProgress::parse(progress).ok_or_else(|| odd("progress", progress))
}

pub(super) fn step_of(row: &SqliteRow) -> Result<SagaStep, StoreError> {
    let wait = match row.try_get::<Option<String>, _>("wait_key")? {
        Some(key) => Some(SagaWait { saga: row.try_get("wait_saga")?, event: row.try_get("wait_event")?, key }),
        None => None,
    };
    let event = row.try_get::<Option<&[u8]>, _>("event_id")?.map(uuid::Uuid::from_slice).transpose();
    Ok(SagaStep {
        step: row.try_get("step")?,
        progress: progress_of(row)?,
        attempt: rows::number_of(row, "attempt").map_err(read)?,
        in_doubt: row.try_get("in_doubt")?,
        due_at: row.try_get::<Option<i64>, _>("due_at")?.map(rows::time),
        wait,
        event: event.map_err(|error| read(error.into()))?,
        patch: row.try_get("patch")?,
        error: row.try_get("error")?,
    })
}

fn entry_of(row: &SqliteRow) -> Result<SagaLog, StoreError> {
    Ok(SagaLog {
        number: rows::number_of(row, "number").map_err(read)?,
        step: row.try_get("step")?,
        is_undo: row.try_get("is_undo")?,
        attempt: rows::number_of(row, "attempt").map_err(read)?,
        began_at: rows::time_of(row, "began_at")?,
        ended_at: rows::time_of(row, "ended_at")?,
        progress: progress_of(row)?,
        error: row.try_get("error")?,
    })
}

fn event_of(row: &SqliteRow) -> Result<AwaitedEvent, StoreError> {
    let wait = SagaWait { saga: row.try_get("saga")?, event: row.try_get("event")?, key: row.try_get("wait_key")? };
    Ok(AwaitedEvent {
        id: rows::id_of(row, "id").map_err(read)?,
        wait,
        version: rows::number_of(row, "version").map_err(read)?,
        payload: row.try_get("payload")?,
        headers: rows::headers_of(row).map_err(read)?,
        at: rows::time_of(row, "came_at")?,
    })
}

impl SqliteStore {
    pub(super) async fn saga_of(&self, id: String) -> Result<Option<(SagaRow, Vec<SagaStep>)>, StoreError> {
        // Of one moment: a change is the row and its steps.
        let mut tx = self.named(self.pool.begin().await)?;
        let Some(row) = self.named(sqlx::query(SAGA).bind(id.as_str()).fetch_optional(&mut *tx).await)? else {
            return Ok(None);
        };
        let steps = self.named(sqlx::query(STEPS).bind(id).fetch_all(&mut *tx).await)?;
        Ok(Some((row_of(&row)?, steps.iter().map(step_of).collect::<Result<_, _>>()?)))
    }

    pub(super) async fn log_of(&self, id: String) -> Result<Vec<SagaLog>, StoreError> {
        self.named(sqlx::query(LOG).bind(id).fetch_all(&self.pool).await)?.iter().map(entry_of).collect()
    }

    pub(super) async fn awaited_events(&self, wait: SagaWait) -> Result<Vec<AwaitedEvent>, StoreError> {
        let awaited = sqlx::query(AWAITED).bind(wait.key).bind(wait.event).bind(wait.saga);
        self.named(awaited.fetch_all(&self.pool).await)?.iter().map(event_of).collect()
    }

    pub(super) async fn find_sagas(&self, filter: SagaFilter, limit: usize) -> Result<Vec<SagaRow>, StoreError> {
        let mut statement = QueryBuilder::new("SELECT * FROM cqrs_sagas WHERE TRUE");
        if let Some(name) = filter.name {
            statement.push(" AND name = ").push_bind(name);
        }
        if let Some(phase) = filter.phase {
            statement.push(" AND phase = ").push_bind(phase.as_str());
        }
        if let Some(before) = filter.started_before.map(rows::micros) {
            match filter.after_id {
                None => statement.push(" AND started_at < ").push_bind(before),
                Some(id) => {
                    statement.push(" AND started_at <= ").push_bind(before);
                    statement.push(" AND (started_at < ").push_bind(before);
                    statement.push(" OR id > ").push_bind(id).push(")")
                }
            };
        }
        statement.push(" ORDER BY started_at DESC, id LIMIT ").push_bind(rows::limit(limit));
        self.named(statement.build().fetch_all(&self.pool).await)?.iter().map(row_of).collect()
    }

    pub(super) async fn sagas_in_use(&self) -> Result<Vec<SagaUse>, StoreError> {
        let used = self.named(sqlx::query(IN_USE).fetch_all(&self.pool).await)?;
        let use_of = |row: &SqliteRow| {
            Ok(SagaUse {
                name: row.try_get("name")?,
                version: rows::number_of(row, "version").map_err(read)?,
                step: row.try_get("step")?,
                count: row.try_get::<i64, _>("count")?.unsigned_abs(),
            })
        };
        used.iter().map(use_of).collect()
    }

    pub(super) async fn purge_sagas(&self, ended_before: i64, events_before: i64) -> Result<u64, StoreError> {
        let mut purged = 0;
        loop {
            let mut tx = self.write().await?;
            let ended = sqlx::query_scalar(ENDED).bind(ended_before).bind(PURGED_AT_ONCE);
            let ended: Vec<String> = self.named(ended.fetch_all(&mut *tx).await)?;
            let list = serde_json::Value::from(ended.clone()).to_string();
            for delete in DELETE {
                self.named(sqlx::query(delete).bind(list.as_str()).execute(&mut *tx).await)?;
            }
            tx.commit().await?;
            purged += ended.len() as u64;
            if ended.len() < usize::try_from(PURGED_AT_ONCE).unwrap_or(usize::MAX) {
                break;
            }
        }
        loop {
            let purge = sqlx::query(PURGE_EVENTS).bind(events_before).bind(PURGED_AT_ONCE);
            let count = self.named(purge.execute(&self.writer).await)?.rows_affected();
            if count < PURGED_AT_ONCE.unsigned_abs() {
                return Ok(purged);
            }
        }
    }
}
