//! Events that came for sagas: kept, told, looked for.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};

use super::rows;
use crate::BoxError;
use crate::store::names::Names;
use crate::store::{AwaitedEvent, SagaWait, StoreError};

/// How many events are told at once: those that wait for them are locked meanwhile.
const TOLD_AT_ONCE: i64 = 1_000;

const KEEP: &str = "
INSERT INTO cqrs_saga_events (id, saga, event, wait_key, version, payload, headers, arrived_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

/// What waits for an event is due, or when it is let go. A saga that somebody has locked is passed by, and the event told another time:
/// who has it locked may be a transaction that takes long.
pub(in crate::store::postgres) const TELL: &str = "
WITH fresh AS (
    SELECT seq, saga, event, wait_key FROM cqrs_saga_events WHERE NOT told ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED
), waiting AS (
    SELECT fresh.seq, found.id FROM fresh CROSS JOIN LATERAL (
        SELECT step.saga AS id FROM cqrs_saga_steps AS step
        WHERE step.progress = 'awaiting' AND step.wait_event = fresh.event AND step.wait_key = fresh.wait_key
            AND step.wait_saga = fresh.saga
        OFFSET 0) AS found
), mine AS (
    SELECT id FROM cqrs_sagas WHERE id = ANY (ARRAY(SELECT id FROM waiting)) ORDER BY id FOR UPDATE SKIP LOCKED
), poked AS (
    UPDATE cqrs_sagas SET poked = TRUE, due_at = CASE WHEN owner IS NULL THEN $1 ELSE due_at END
    WHERE id = ANY (ARRAY(SELECT id FROM mine)) AND phase NOT IN ('completed', 'compensated')
    RETURNING id
), told AS (
    UPDATE cqrs_saga_events SET told = TRUE
    WHERE seq = ANY (ARRAY(
        SELECT seq FROM fresh EXCEPT SELECT seq FROM waiting WHERE id <> ALL (ARRAY(SELECT id FROM mine))))
    RETURNING seq
)
SELECT (SELECT COUNT(*) FROM poked), (SELECT COUNT(*) FROM told)";

const AWAITED: &str = "
SELECT id, version, payload, headers, arrived_at FROM cqrs_saga_events
WHERE event = $1 AND wait_key = $2 AND saga = $3 ORDER BY seq";

/// Of many waits, the event of each that came first, where that is small. Each is looked for by itself: what the planner thinks of all of
/// them together may be a scan.
pub(in crate::store::postgres) const FIRST_OF_EACH: &str = "
SELECT first.*, wait.saga, wait.event, wait.wait_key FROM unnest($1::text[], $2::text[], $3::text[]) AS wait (event, wait_key, saga)
CROSS JOIN LATERAL (
    SELECT id, version, payload, headers, arrived_at FROM cqrs_saga_events AS kept
    WHERE kept.event = wait.event AND kept.wait_key = wait.wait_key AND kept.saga = wait.saga ORDER BY seq LIMIT 1) AS first
WHERE octet_length(first.payload) <= $4";

/// How large the payload of an event may be that is looked for together with others, in bytes: the sagas are locked meanwhile.
const SMALL: i32 = 16 * 1024;

/// Every statement of this file.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[KEEP, TELL, AWAITED, FIRST_OF_EACH];

/// Keeps an event, in the transaction of whoever has taken it.
pub(in crate::store::postgres) async fn keep(
    names: &Names,
    connection: &mut PgConnection,
    event: AwaitedEvent,
) -> Result<(), StoreError> {
    sqlx::query(names.sql(KEEP))
        .bind(event.id)
        .bind(rows::escape(event.wait.saga))
        .bind(rows::escape(event.wait.event))
        .bind(rows::escape(event.wait.key))
        .bind(rows::number(event.version))
        .bind(event.payload)
        .bind(rows::headers_text(&event.headers)?)
        .bind(rows::micros(event.at))
        .execute(connection)
        .await?;
    Ok(())
}

/// Wakes what waits for events that were kept since the last time. Gives how many sagas.
pub(super) async fn tell(names: &Names, pool: &PgPool, now: SystemTime) -> Result<u64, sqlx::Error> {
    let mut woken = 0;
    loop {
        // Planned each time: a plan that was made while the table was small reads all of it when it is not, until the server looks again.
        let statement = sqlx::query_as(names.sql(TELL)).persistent(false);
        let statement = statement.bind(rows::micros(now)).bind(TOLD_AT_ONCE);
        let (poked, told): (i64, i64) = statement.fetch_one(pool).await?;
        woken += poked.unsigned_abs();
        if told < TOLD_AT_ONCE {
            return Ok(woken);
        }
    }
}

pub(super) async fn awaited(names: &Names, pool: &PgPool, wait: SagaWait) -> Result<Vec<AwaitedEvent>, sqlx::Error> {
    let found = sqlx::query(names.sql(AWAITED))
        .bind(rows::escaped(&wait.event))
        .bind(rows::escaped(&wait.key))
        .bind(rows::escaped(&wait.saga))
        .fetch_all(pool)
        .await?;
    found.iter().map(|row| read(row, &wait)).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

/// The event of each wait that came first. Those that are large or cannot be read are left to whoever asks for them alone.
pub(super) async fn first_of_each(
    names: &Names,
    connection: &mut PgConnection,
    waits: &HashSet<&SagaWait>,
) -> Result<HashMap<SagaWait, AwaitedEvent>, sqlx::Error> {
    let column = |of: fn(&SagaWait) -> &str| waits.iter().map(|wait| rows::escaped(of(wait))).collect::<Vec<_>>();
    // Planned each time, as for telling.
    let found = sqlx::query(names.sql(FIRST_OF_EACH))
        .persistent(false)
        .bind(column(|wait| &wait.event))
        .bind(column(|wait| &wait.key))
        .bind(column(|wait| &wait.saga))
        .bind(SMALL)
        .fetch_all(connection)
        .await?;
    let read = |row| {
        let text = |column| rows::text_of(row, column);
        read(row, &SagaWait { saga: text("saga")?, event: text("event")?, key: text("wait_key")? })
    };
    Ok(found.iter().filter_map(|row| read(row).ok()).map(|event| (event.wait.clone(), event)).collect())
}

fn read(row: &PgRow, wait: &SagaWait) -> Result<AwaitedEvent, BoxError> {
    Ok(AwaitedEvent {
        id: row.try_get("id")?,
        wait: wait.clone(),
        version: rows::number_of(row, "version")?,
        payload: row.try_get("payload")?,
        headers: rows::headers_of(row)?,
        at: rows::time_of(row, "arrived_at")?,
    })
}
