//! Events that came for sagas.

use std::time::SystemTime;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::rows;
use crate::BoxError;
use crate::store::{AwaitedEvent, SagaWait, StoreError};

const KEEP: &str = "
INSERT INTO cqrs_saga_events (id, saga, event, wait_key, version, payload, headers, arrived_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

/// What waits for it is due, or when it is let go.
pub(in crate::store::sqlite) const WAKE: &str = "
UPDATE cqrs_sagas SET poked = 1, due_at = CASE WHEN owner IS NULL THEN ?4 ELSE due_at END
WHERE id IN (
    SELECT saga FROM cqrs_saga_steps
    WHERE progress = 'awaiting' AND wait_event = ?1 AND wait_key = ?2 AND wait_saga = ?3)
AND phase NOT IN ('completed', 'compensated')";

pub(in crate::store::sqlite) const AWAITED: &str = "
SELECT id, version, payload, headers, arrived_at FROM cqrs_saga_events
WHERE event = ? AND wait_key = ? AND saga = ? ORDER BY seq";

/// Every statement of this file.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[KEEP, WAKE, AWAITED];

/// Keeps an event, and wakes what waits for it. Whoever does has the write lock: a saga that comes to wait later finds it.
pub(in crate::store::sqlite) async fn keep(
    connection: &mut SqliteConnection,
    event: AwaitedEvent,
    now: SystemTime,
) -> Result<(), StoreError> {
    let wait = event.wait;
    sqlx::query(KEEP)
        .bind(rows::id_bytes(event.id))
        .bind(wait.saga.as_str())
        .bind(wait.event.as_str())
        .bind(wait.key.as_str())
        .bind(i64::from(event.version))
        .bind(event.payload)
        .bind(rows::headers_text(&event.headers)?)
        .bind(rows::micros(event.at))
        .execute(&mut *connection)
        .await?;
    let wake = sqlx::query(WAKE).bind(wait.event).bind(wait.key).bind(wait.saga).bind(rows::micros(now));
    wake.execute(connection).await?;
    Ok(())
}

pub(super) async fn awaited(pool: &SqlitePool, wait: SagaWait) -> Result<Vec<AwaitedEvent>, sqlx::Error> {
    let found = sqlx::query(AWAITED).bind(wait.event.as_str()).bind(wait.key.as_str()).bind(wait.saga.as_str());
    let found = found.fetch_all(pool).await?;
    found.iter().map(|row| read(row, &wait)).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

fn read(row: &SqliteRow, wait: &SagaWait) -> Result<AwaitedEvent, BoxError> {
    Ok(AwaitedEvent {
        id: rows::id_of(row, "id")?,
        wait: wait.clone(),
        version: rows::number_of(row, "version")?,
        payload: row.try_get("payload")?,
        headers: rows::headers_of(row)?,
        at: rows::time_of(row, "arrived_at")?,
    })
}
