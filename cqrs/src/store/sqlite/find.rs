//! Finding: rows of the outbox by state, dead letters and timers by filter, what was done to them.

use std::time::SystemTime;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};
use uuid::Uuid;

use super::{dead, rows, timer};
use crate::store::{
    AuditAction, AuditChange, AuditEntry, AuditSource, DeadLetter, DeadLetterId, DeadSearch, DeadSource, OutboxId,
    OutboxRecord, OutboxRow, OutboxSearch, OutboxState, OutboxStatus, Signed, TimerFilter, TimerRecord, Touched,
};

/// Rows that this process is busy with are ready in the database.
const STATUS: &str = "
SELECT
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'ready') AS ready,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'waiting') AS waiting,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'parked') AS parked,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead') AS dead,
    (SELECT MIN(at) FROM (
        SELECT * FROM (SELECT raised_at AS at FROM cqrs_outbox WHERE state = 'ready' ORDER BY seq LIMIT 1)
        UNION ALL SELECT * FROM (SELECT raised_at FROM cqrs_outbox WHERE state = 'waiting' ORDER BY seq LIMIT 1)
        UNION ALL SELECT * FROM (SELECT raised_at FROM cqrs_outbox WHERE state = 'parked' ORDER BY seq LIMIT 1)
    )) AS oldest";

pub(super) const LIST: &str = "
SELECT seq, id, name, version, topic, message_key, payload, headers, raised_at, attempts, error, due_at
FROM cqrs_outbox
WHERE state = ?1 AND seq > ?2 AND (?3 IS NULL OR topic = ?3) AND seq NOT IN (SELECT value FROM json_each(?5))
ORDER BY seq LIMIT ?4";

/// What this process is busy with.
const CLAIMED: &str = "
SELECT seq, id, name, version, topic, message_key, payload, headers, raised_at, attempts, error, due_at
FROM cqrs_outbox
WHERE seq IN (SELECT value FROM json_each(?5)) AND +state = ?1 AND seq > ?2 AND (?3 IS NULL OR topic = ?3)
ORDER BY seq LIMIT ?4";

pub(super) const FIND_OUTBOX: &str = "
SELECT seq, id, name, version, '' AS handler, '' AS consumer_group, topic, message_key,
    CASE WHEN ?9 THEN payload ELSE x'' END AS payload, headers, attempts, error, raised_at AS created_at
FROM cqrs_outbox INDEXED BY cqrs_outbox_dead
WHERE state = 'dead' AND (raised_at, seq) > (?1, ?2) AND raised_at >= ?3 AND raised_at <= ?4
    AND (?5 IS NULL OR topic = ?5) AND (?6 IS NULL OR name = ?6) AND (?7 IS NULL OR instr(error, ?7) > 0)
ORDER BY raised_at, seq LIMIT ?8";

pub(super) const FIND_WORK: &str = "
SELECT seq, id, name, version, handler, consumer_group, topic, message_key,
    CASE WHEN ?9 THEN payload ELSE x'' END AS payload, headers, attempts, error, created_at
FROM cqrs_work INDEXED BY cqrs_work_dead
WHERE state = 'dead' AND (created_at, seq) > (?1, ?2) AND created_at >= ?3 AND created_at <= ?4
    AND (?5 IS NULL OR topic = ?5) AND (?6 IS NULL OR name = ?6) AND (?7 IS NULL OR instr(error, ?7) > 0)
    AND (?10 IS NULL OR handler = ?10) AND (?11 IS NULL OR consumer_group = ?11)
ORDER BY created_at, seq LIMIT ?8";

const SHOW_OUTBOX: &str = "
SELECT seq, id, name, version, '' AS handler, '' AS consumer_group, topic, message_key, payload, headers, attempts,
    error, raised_at AS created_at
FROM cqrs_outbox WHERE seq = ? AND state = 'dead'";

const SHOW_WORK: &str = "
SELECT seq, id, name, version, handler, consumer_group, topic, message_key, payload, headers, attempts, error,
    created_at
FROM cqrs_work WHERE seq = ? AND state = 'dead'";

/// In the order of the index by time, as when all are listed.
pub(super) const TIMERS: &str = "
SELECT id, name, timer_key, due_at FROM cqrs_work
WHERE kind = 'timer' AND state NOT IN ('claimed', 'dead') AND (?1 IS NULL OR name = ?1)
    AND (?2 IS NULL OR timer_key = ?2)
ORDER BY due_at, seq LIMIT ?3";

pub(super) const TIMERS_NAMED: &str = "
SELECT id, name, timer_key, due_at FROM cqrs_work
WHERE kind = 'timer' AND timer_key IS NOT NULL AND name = ?1 AND timer_key = ?2 AND state NOT IN ('claimed', 'dead')
ORDER BY due_at, seq LIMIT ?3";

const AUDIT: &str = "
SELECT seq, done_at, done_by, action, source, row_seq, message_id, name, message_key, before_value, after_value, note
FROM cqrs_audit WHERE seq < ? ORDER BY seq DESC LIMIT ?";

pub(super) const PURGE_AUDIT: &str = "DELETE FROM cqrs_audit WHERE done_at < ?";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[STATUS, LIST, CLAIMED, FIND_OUTBOX, FIND_WORK, SHOW_OUTBOX, SHOW_WORK, TIMERS, TIMERS_NAMED, AUDIT, PURGE_AUDIT];

pub(super) async fn status(pool: &SqlitePool, busy: usize) -> Result<OutboxStatus, sqlx::Error> {
    let row = sqlx::query(STATUS).fetch_one(pool).await?;
    let count = |column| row.try_get::<i64, &str>(column).map(|count| u64::try_from(count).unwrap_or(0));
    let claimed = (busy as u64).min(count("ready")?);
    Ok(OutboxStatus {
        ready: count("ready")? - claimed,
        waiting: count("waiting")?,
        parked: count("parked")?,
        claimed,
        dead: count("dead")?,
        oldest: row.try_get::<Option<i64>, _>("oldest")?.map(rows::time),
    })
}

/// `busy`: the rows that this process is busy with.
pub(super) async fn list(pool: &SqlitePool, search: OutboxSearch, busy: &[i64]) -> Result<Vec<OutboxRow>, sqlx::Error> {
    let (statement, state) = match search.state {
        OutboxState::Claimed => (CLAIMED, OutboxState::Ready),
        state => (LIST, state),
    };
    // What it is busy with is ready: of other states nothing is left out.
    let busy = if state == OutboxState::Ready { busy } else { &[] };
    let found = sqlx::query(statement)
        .bind(state.as_str())
        .bind(search.after.map_or(i64::MIN, |OutboxId(seq)| seq))
        .bind(search.topic)
        .bind(rows::limit(search.limit))
        .bind(rows::list(busy));
    let read = |row: &SqliteRow| {
        Ok(OutboxRow {
            id: OutboxId(row.try_get("seq")?),
            state: search.state,
            record: OutboxRecord {
                id: rows::id_of(row, "id").unwrap_or(Uuid::nil()),
                name: row.try_get("name").unwrap_or_default(),
                version: rows::number_of(row, "version").unwrap_or(0),
                topic: row.try_get("topic").unwrap_or_default(),
                key: row.try_get("message_key").unwrap_or_default(),
                payload: row.try_get("payload").unwrap_or_default(),
                headers: rows::headers_of(row).unwrap_or_default(),
                raised_at: rows::time_of(row, "raised_at")?,
            },
            attempts: rows::number_of(row, "attempts").unwrap_or(0),
            error: row.try_get("error")?,
            due_at: rows::time_of(row, "due_at")?,
        })
    };
    found.fetch_all(pool).await?.iter().map(read).collect()
}

pub(super) async fn dead(pool: &SqlitePool, search: DeadSearch) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let mut letters = Vec::new();
    for (source, statement) in [(DeadSource::Outbox, FIND_OUTBOX), (DeadSource::Work, FIND_WORK)] {
        if source == DeadSource::Outbox && !search.filter.takes_events() {
            continue;
        }
        let filter = search.filter.clone();
        let (after, behind) =
            search.place(source).map_or((i64::MIN, i64::MIN), |(time, seq)| (rows::micros(time), seq));
        let mut found = sqlx::query(statement)
            .bind(after)
            .bind(behind)
            .bind(filter.since.map_or(i64::MIN, rows::micros))
            .bind(filter.until.map_or(i64::MAX, rows::micros))
            .bind(filter.topic)
            .bind(filter.name)
            .bind(filter.error)
            .bind(rows::limit(search.limit))
            .bind(search.with_payload);
        if source == DeadSource::Work {
            found = found.bind(filter.handler).bind(filter.group);
        }
        for row in found.fetch_all(pool).await? {
            letters.push(dead::read(&row, source)?);
        }
    }
    Ok(search.merged(letters))
}

pub(super) async fn letter(pool: &SqlitePool, id: DeadLetterId) -> Result<Option<DeadLetter>, sqlx::Error> {
    let statement = match id.source {
        DeadSource::Outbox => SHOW_OUTBOX,
        DeadSource::Work => SHOW_WORK,
    };
    let found = sqlx::query(statement).bind(id.seq).fetch_optional(pool).await?;
    found.map(|row| dead::read(&row, id.source)).transpose()
}

pub(super) async fn timers(
    pool: &SqlitePool,
    filter: TimerFilter,
    limit: usize,
) -> Result<Vec<TimerRecord>, sqlx::Error> {
    let statement = if filter.name.is_some() && filter.key.is_some() { TIMERS_NAMED } else { TIMERS };
    let found = sqlx::query(statement).bind(filter.name).bind(filter.key).bind(rows::limit(limit));
    found.fetch_all(pool).await?.iter().map(timer::read).collect()
}

/// Entries of an action that only newer programs know are left out.
pub(super) async fn audit(
    pool: &SqlitePool,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<AuditEntry>, sqlx::Error> {
    let found = sqlx::query(AUDIT).bind(before.unwrap_or(i64::MAX)).bind(rows::limit(limit)).fetch_all(pool).await?;
    found.iter().map(entry).filter_map(Result::transpose).collect()
}

fn entry(row: &SqliteRow) -> Result<Option<AuditEntry>, sqlx::Error> {
    let Some(action) = AuditAction::from_stored(row.try_get("action")?) else { return Ok(None) };
    let numbers = (row.try_get("before_value")?, row.try_get("after_value")?);
    let touched = Touched {
        source: AuditSource::from_stored(row.try_get("source")?),
        row: row.try_get("row_seq")?,
        message_id: rows::id_of(row, "message_id").unwrap_or(Uuid::nil()),
        name: row.try_get("name")?,
        key: row.try_get("message_key")?,
        change: AuditChange::from_stored(action, numbers, rows::time),
    };
    let (by, note) = (row.try_get("done_by")?, row.try_get("note")?);
    let signed = Signed { by, at: rows::time_of(row, "done_at")?, note };
    Ok(Some(AuditEntry::new(row.try_get("seq")?, action, touched, signed)))
}

pub(super) async fn purge_audit(writer: &SqlitePool, before: SystemTime) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(PURGE_AUDIT).bind(rows::micros(before)).execute(writer).await?.rows_affected())
}
