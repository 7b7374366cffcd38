//! Sagas: started, changed, asked, poked.

use std::time::{Duration, Instant, SystemTime};

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqliteExecutor, SqlitePool};

use super::rows;
use crate::store::sagas::words::asked_of;
use crate::store::sqlite::SqliteStore;
use crate::store::{
    SagaAsked, SagaChange, SagaClaim, SagaLog, SagaRest, SagaSaved, SagaStart, SagaStarted, SagaStep, StoreError,
};

const START: &str = "
INSERT INTO cqrs_sagas (id, name, version, phase, context, digest, headers, owner, lease_until, started_at, changed_at)
VALUES (?1, ?2, ?3, 'forward', ?4, ?5, ?6, ?7, ?8, ?9, ?9)
ON CONFLICT (id) DO NOTHING RETURNING fence";

const KNOWN: &str = "SELECT name, version, digest FROM cqrs_sagas WHERE id = ?";

/// `?13`: whether it stays held. Let go, it is due at once where something is asked of it; otherwise when `?14` says, or at once where
/// it was poked meanwhile.
const SAVE: &str = "
UPDATE cqrs_sagas
SET phase = ?3, why = ?4, context = COALESCE(?5, context), is_cancelled = ?6, cuts = ?7, error = ?8, logged = MAX(logged, ?9),
    changed_at = ?10, ended_at = ?11, doubted = 0,
    asked = CASE WHEN asked IS NOT ?12 THEN asked END,
    owner = CASE WHEN ?13 THEN owner END,
    lease_until = CASE WHEN ?13 THEN lease_until END,
    due_at = CASE WHEN ?13 THEN due_at WHEN asked IS NOT NULL AND asked IS NOT ?12 THEN ?10 WHEN ?14 IS NULL THEN NULL
        WHEN poked THEN ?10 ELSE ?14 END,
    version = COALESCE(?15, version)
WHERE id = ?1 AND fence = ?2 AND owner IS NOT NULL
RETURNING asked";

/// What of a step is written anew.
const RENEWED: &str = "
ON CONFLICT (saga, step) DO UPDATE SET progress = excluded.progress, attempt = excluded.attempt, in_doubt = excluded.in_doubt,
    due_at = excluded.due_at, wait_saga = excluded.wait_saga, wait_event = excluded.wait_event, wait_key = excluded.wait_key,
    event_id = excluded.event_id, returned = excluded.returned, error = excluded.error";

const ASK: &str = "
UPDATE cqrs_sagas SET asked = ?2, due_at = CASE WHEN owner IS NULL THEN ?3 ELSE due_at END WHERE id = ?1 AND phase = ?4
RETURNING name";

const POKE: &str = "
UPDATE cqrs_sagas SET poked = 1, due_at = CASE WHEN owner IS NULL THEN ?2 ELSE due_at END
WHERE id = ?1 AND phase NOT IN ('completed', 'compensated')";

/// Every statement of this file whose text is fixed.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[START, KNOWN, SAVE, ASK, POKE];

impl SqliteStore {
    pub(super) async fn start_saga(&self, start: SagaStart) -> Result<SagaStarted, StoreError> {
        let asked = Instant::now();
        let mut tx = self.write().await?;
        let started = begin(&mut tx, start, asked.elapsed()).await?;
        tx.commit().await?;
        Ok(started)
    }

    /// All in one transaction, for one sync of the disk.
    pub(super) async fn save_sagas(&self, changes: Vec<SagaChange>) -> Result<Vec<Option<SagaSaved>>, StoreError> {
        let mut tx = self.write().await?;
        let mut saved = Vec::with_capacity(changes.len());
        for change in changes {
            saved.push(Some(self.named(save_within(&mut tx, change).await)?));
        }
        tx.commit().await?;
        Ok(saved)
    }

    pub(super) async fn save_saga(&self, change: SagaChange) -> Result<SagaSaved, StoreError> {
        let mut tx = self.write().await?;
        let saved = self.named(save_within(&mut tx, change).await)?;
        tx.commit().await?;
        Ok(saved)
    }
}

/// Stores a saga that begins. Its lease counts from when it is stored: whoever starts it has waited so long for those who write.
async fn begin(
    connection: &mut SqliteConnection,
    start: SagaStart,
    waited: Duration,
) -> Result<SagaStarted, StoreError> {
    let begun: Option<i64> = sqlx::query_scalar(START)
        .bind(start.id.as_str())
        .bind(start.name)
        .bind(i64::from(start.version))
        .bind(start.context)
        .bind(start.digest.as_slice())
        .bind(rows::headers_text(&start.headers)?)
        .bind(start.owner)
        .bind(rows::micros(start.lease_until + waited))
        .bind(rows::micros(start.at))
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(fence) = begun {
        put_steps(connection, &start.id, start.steps).await?;
        return Ok(SagaStarted::New(SagaClaim { id: start.id, fence }));
    }
    let row = sqlx::query(KNOWN).bind(start.id).fetch_one(connection).await?;
    let known = |row: &sqlx::sqlite::SqliteRow| -> Result<SagaStarted, crate::BoxError> {
        let digest = row.try_get::<&[u8], _>("digest")?.try_into()?;
        Ok(SagaStarted::Known { name: row.try_get("name")?, version: rows::number_of(row, "version")?, digest })
    };
    Ok(known(&row).map_err(sqlx::Error::Decode)?)
}

/// Stores what has become of a saga, in a transaction that has the write lock.
pub(in crate::store::sqlite) async fn save_within(
    connection: &mut SqliteConnection,
    change: SagaChange,
) -> Result<SagaSaved, sqlx::Error> {
    let at = rows::micros(change.at);
    let (is_held, due_at) = match change.rest {
        SagaRest::Held => (true, None),
        SagaRest::Until(due) => (false, Some(rows::micros(due))),
        SagaRest::Nobody => (false, None),
    };
    let saved: Option<Option<String>> = sqlx::query_scalar(SAVE)
        .bind(change.claim.id.as_str())
        .bind(change.claim.fence)
        .bind(change.phase.as_str())
        .bind(change.why)
        .bind(change.context)
        .bind(change.is_cancelled)
        .bind(i64::from(change.cuts))
        .bind(change.error)
        .bind(i64::from(change.log.iter().map(|entry| entry.number).max().unwrap_or(0)))
        .bind(at)
        .bind(change.phase.is_end().then_some(at))
        .bind(change.heard.map(SagaAsked::as_str))
        .bind(is_held)
        .bind(due_at)
        .bind(change.version.map(i64::from))
        .fetch_optional(&mut *connection)
        .await?;
    let Some(asked) = saved else { return Ok(SagaSaved::Lost) };
    put_steps(connection, &change.claim.id, change.steps).await?;
    put_log(connection, &change.claim.id, change.log).await?;
    let asked = asked.map(|word| asked_of(&word)).transpose().map_err(sqlx::Error::Decode)?;
    Ok(SagaSaved::Stored(asked))
}

async fn put_steps(connection: &mut SqliteConnection, id: &str, steps: Vec<SagaStep>) -> Result<(), sqlx::Error> {
    for steps in rows::chunks(steps, rows::rows_per_statement(12)) {
        let count = steps.len();
        rows::run(connection, upserting(id, steps), count).await?;
    }
    Ok(())
}

pub(in crate::store::sqlite) fn upserting(id: &str, steps: Vec<SagaStep>) -> QueryBuilder<Sqlite> {
    let mut statement = QueryBuilder::new(
        "INSERT INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt, due_at, wait_saga, wait_event, wait_key, \
         event_id, returned, error) ",
    );
    statement.push_values(steps, |mut row, step| {
        let (saga, event, key) = match step.wait {
            Some(wait) => (Some(wait.saga), Some(wait.event), Some(wait.key)),
            None => (None, None, None),
        };
        row.push_bind(id.to_owned())
            .push_bind(step.step)
            .push_bind(step.progress.as_str())
            .push_bind(i64::from(step.attempt))
            .push_bind(step.in_doubt)
            .push_bind(step.due_at.map(rows::micros))
            .push_bind(saga)
            .push_bind(event)
            .push_bind(key)
            .push_bind(step.event.map(rows::id_bytes))
            .push_bind(step.returned)
            .push_bind(step.error);
    });
    statement.push(RENEWED);
    statement
}

/// An entry that is there already stays: whoever was not told that a change was committed may store it once more.
async fn put_log(connection: &mut SqliteConnection, id: &str, log: Vec<SagaLog>) -> Result<(), sqlx::Error> {
    for log in rows::chunks(log, rows::rows_per_statement(9)) {
        let count = log.len();
        let mut statement = QueryBuilder::new(
            "INSERT INTO cqrs_saga_log (saga, number, step, is_undo, attempt, began_at, ended_at, progress, error) ",
        );
        statement.push_values(log, |mut row, entry| {
            row.push_bind(id.to_owned())
                .push_bind(i64::from(entry.number))
                .push_bind(entry.step)
                .push_bind(entry.is_undo)
                .push_bind(i64::from(entry.attempt))
                .push_bind(rows::micros(entry.began_at))
                .push_bind(rows::micros(entry.ended_at))
                .push_bind(entry.progress.as_str())
                .push_bind(entry.error);
        });
        statement.push(" ON CONFLICT (saga, number) DO NOTHING");
        rows::run(connection, statement, count).await?;
    }
    Ok(())
}

/// Gives the name of the saga that was asked.
pub(in crate::store::sqlite) async fn ask(
    executor: impl SqliteExecutor<'_>,
    id: String,
    asked: SagaAsked,
    now: SystemTime,
) -> Result<Option<String>, sqlx::Error> {
    let statement = sqlx::query_scalar(ASK).bind(id).bind(asked.as_str());
    statement.bind(rows::micros(now)).bind(asked.phase().as_str()).fetch_optional(executor).await
}

pub(super) async fn poke(writer: &SqlitePool, id: String, now: SystemTime) -> Result<(), sqlx::Error> {
    sqlx::query(POKE).bind(id).bind(rows::micros(now)).execute(writer).await.map(drop)
}
