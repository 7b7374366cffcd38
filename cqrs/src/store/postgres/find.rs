//! Finding: rows of the outbox by state, dead letters and timers by filter, what was done to them.

use std::time::SystemTime;

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::{dead, rows, timer};
use crate::store::names::Names;
use crate::store::{
    AuditAction, AuditChange, AuditEntry, AuditSource, DeadLetter, DeadLetterId, DeadSearch, DeadSource, OutboxId,
    OutboxRecord, OutboxRow, OutboxSearch, OutboxState, OutboxStatus, Signed, TimerFilter, TimerRecord, Touched,
};

/// Each state by the index that has it alone. Rows that this process is busy with are ready in the database.
const STATUS: &str = "
SELECT
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'ready') AS ready,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'waiting') AS waiting,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'parked') AS parked,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead') AS dead,
    LEAST(
        (SELECT raised_at FROM cqrs_outbox WHERE state = 'ready' ORDER BY seq LIMIT 1),
        (SELECT raised_at FROM cqrs_outbox WHERE state = 'waiting' ORDER BY seq LIMIT 1),
        (SELECT raised_at FROM cqrs_outbox WHERE state = 'parked' ORDER BY seq LIMIT 1)
    ) AS oldest";

/// The rows of a state: its word stands in the text, so that the index of that state is found. $4: what this process is busy
/// with.
macro_rules! list {
    ($state:literal) => {
        concat!(
            "SELECT seq, id, name, version, topic, message_key, payload, headers, raised_at, attempts, error, due_at
            FROM cqrs_outbox WHERE state = '",
            $state,
            "' AND seq > $1 AND ($2::text IS NULL OR topic = $2) AND seq <> ALL ($4::bigint[]) ORDER BY seq LIMIT $3"
        )
    };
}

const READY: &str = list!("ready");
const WAITING: &str = list!("waiting");
const PARKED: &str = list!("parked");
const DEAD: &str = list!("dead");

const CLAIMED: &str = "
SELECT seq, id, name, version, topic, message_key, payload, headers, raised_at, attempts, error, due_at
FROM cqrs_outbox
WHERE seq = ANY ($4::bigint[]) AND state = 'ready' AND seq > $1 AND ($2::text IS NULL OR topic = $2)
ORDER BY seq LIMIT $3";

const FIND_OUTBOX: &str = "
SELECT seq, id, name, version, '' AS handler, '' AS consumer_group, topic, message_key,
    CASE WHEN $9::bool THEN payload ELSE ''::bytea END AS payload, headers, attempts, error, raised_at AS created_at
FROM cqrs_outbox
WHERE state = 'dead' AND (raised_at, seq) > ($1, $2) AND raised_at >= $3 AND raised_at <= $4
    AND ($5::text IS NULL OR topic = $5) AND ($6::text IS NULL OR name = $6)
    AND ($7::text IS NULL OR strpos(error, $7) > 0)
ORDER BY raised_at, seq LIMIT $8";

const FIND_WORK: &str = "
SELECT seq, id, name, version, handler, consumer_group, topic, message_key,
    CASE WHEN $9::bool THEN payload ELSE ''::bytea END AS payload, headers, attempts, error, created_at
FROM cqrs_work
WHERE state = 'dead' AND (created_at, seq) > ($1, $2) AND created_at >= $3 AND created_at <= $4
    AND ($5::text IS NULL OR topic = $5) AND ($6::text IS NULL OR name = $6)
    AND ($7::text IS NULL OR strpos(error, $7) > 0)
    AND ($10::text IS NULL OR handler = $10) AND ($11::text IS NULL OR consumer_group = $11)
ORDER BY created_at, seq LIMIT $8";

const SHOW_OUTBOX: &str = "
SELECT seq, id, name, version, '' AS handler, '' AS consumer_group, topic, message_key, payload, headers, attempts,
    error, raised_at AS created_at
FROM cqrs_outbox WHERE seq = $1 AND state = 'dead'";

const SHOW_WORK: &str = "
SELECT seq, id, name, version, handler, consumer_group, topic, message_key, payload, headers, attempts, error,
    created_at
FROM cqrs_work WHERE seq = $1 AND state = 'dead'";

/// In the order of the index by time, as when all are listed.
const TIMERS: &str = "
SELECT id, name, timer_key, due_at FROM cqrs_work
WHERE kind = 'timer' AND state NOT IN ('claimed', 'dead') AND ($1::text IS NULL OR name = $1)
    AND ($2::text IS NULL OR timer_key = $2)
ORDER BY due_at, seq LIMIT $3";

const TIMERS_NAMED: &str = "
SELECT id, name, timer_key, due_at FROM cqrs_work
WHERE kind = 'timer' AND timer_key IS NOT NULL AND name = $1 AND timer_key = $2 AND state NOT IN ('claimed', 'dead')
ORDER BY due_at, seq LIMIT $3";

const AUDIT: &str = "
SELECT seq, done_at, done_by, action, source, row_seq, message_id, name, message_key, before_value, after_value, note
FROM cqrs_audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2";

const PURGE_AUDIT: &str = "DELETE FROM cqrs_audit WHERE done_at < $1";

/// Those that count, which is reading: an index, and no table.
#[cfg(test)]
pub(super) const COUNTING: &[&str] = &[STATUS];

/// The statements of this file that are to scan no table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    READY,
    WAITING,
    PARKED,
    DEAD,
    CLAIMED,
    FIND_OUTBOX,
    FIND_WORK,
    SHOW_OUTBOX,
    SHOW_WORK,
    TIMERS,
    TIMERS_NAMED,
    AUDIT,
    PURGE_AUDIT,
];

pub(super) async fn status(names: &Names, pool: &PgPool, busy: usize) -> Result<OutboxStatus, sqlx::Error> {
    let row = sqlx::query(names.sql(STATUS)).fetch_one(pool).await?;
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
pub(super) async fn list(
    names: &Names,
    pool: &PgPool,
    search: OutboxSearch,
    busy: Vec<i64>,
) -> Result<Vec<OutboxRow>, sqlx::Error> {
    let statement = match search.state {
        OutboxState::Ready => READY,
        OutboxState::Waiting => WAITING,
        OutboxState::Parked => PARKED,
        OutboxState::Claimed => CLAIMED,
        OutboxState::Dead => DEAD,
    };
    // What it is busy with is ready: of other states nothing is left out.
    let is_by_desk = matches!(search.state, OutboxState::Ready | OutboxState::Claimed);
    let found = sqlx::query(names.sql(statement))
        .bind(search.after.map_or(i64::MIN, |OutboxId(seq)| seq))
        .bind(search.topic.map(rows::escape))
        .bind(rows::limit(search.limit))
        .bind(if is_by_desk { busy } else { Vec::new() });
    let read = |row: &PgRow| {
        Ok(OutboxRow {
            id: OutboxId(row.try_get("seq")?),
            state: search.state,
            record: OutboxRecord {
                id: row.try_get("id").unwrap_or(Uuid::nil()),
                name: rows::text_of(row, "name").unwrap_or_default(),
                version: rows::number_of(row, "version").unwrap_or(0),
                topic: rows::text_of(row, "topic").unwrap_or_default(),
                key: rows::maybe_text_of(row, "message_key").unwrap_or_default(),
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

pub(super) async fn dead(names: &Names, pool: &PgPool, search: DeadSearch) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let mut letters = Vec::new();
    for (source, statement) in [(DeadSource::Outbox, FIND_OUTBOX), (DeadSource::Work, FIND_WORK)] {
        if source == DeadSource::Outbox && !search.filter.takes_events() {
            continue;
        }
        let filter = search.filter.clone();
        let (after, behind) =
            search.place(source).map_or((i64::MIN, i64::MIN), |(time, seq)| (rows::micros(time), seq));
        let mut found = sqlx::query(names.sql(statement))
            .bind(after)
            .bind(behind)
            .bind(filter.since.map_or(i64::MIN, rows::micros))
            .bind(filter.until.map_or(i64::MAX, rows::micros))
            .bind(filter.topic.map(rows::escape))
            .bind(filter.name.map(rows::escape))
            .bind(filter.error.map(rows::error_text))
            .bind(rows::limit(search.limit))
            .bind(search.with_payload);
        if source == DeadSource::Work {
            found = found.bind(filter.handler.map(rows::escape)).bind(filter.group.map(rows::escape));
        }
        for row in found.fetch_all(pool).await? {
            letters.push(dead::read(&row, source)?);
        }
    }
    Ok(search.merged(letters))
}

pub(super) async fn letter(names: &Names, pool: &PgPool, id: DeadLetterId) -> Result<Option<DeadLetter>, sqlx::Error> {
    let statement = match id.source {
        DeadSource::Outbox => SHOW_OUTBOX,
        DeadSource::Work => SHOW_WORK,
    };
    let found = sqlx::query(names.sql(statement)).bind(id.seq).fetch_optional(pool).await?;
    found.map(|row| dead::read(&row, id.source)).transpose()
}

pub(super) async fn timers(
    names: &Names,
    pool: &PgPool,
    filter: TimerFilter,
    limit: usize,
) -> Result<Vec<TimerRecord>, sqlx::Error> {
    let statement = if filter.name.is_some() && filter.key.is_some() { TIMERS_NAMED } else { TIMERS };
    let found = sqlx::query(names.sql(statement))
        .bind(filter.name.map(rows::escape))
        .bind(filter.key.map(rows::escape))
        .bind(rows::limit(limit));
    found.fetch_all(pool).await?.iter().map(timer::read).collect()
}

/// Entries of an action that only newer programs know are left out.
pub(super) async fn audit(
    names: &Names,
    pool: &PgPool,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<AuditEntry>, sqlx::Error> {
    let found =
        sqlx::query(names.sql(AUDIT)).bind(before.unwrap_or(i64::MAX)).bind(rows::limit(limit)).fetch_all(pool).await?;
    found.iter().map(entry).filter_map(Result::transpose).collect()
}

fn entry(row: &PgRow) -> Result<Option<AuditEntry>, sqlx::Error> {
    let Some(action) = AuditAction::from_stored(row.try_get("action")?) else { return Ok(None) };
    let numbers = (row.try_get("before_value")?, row.try_get("after_value")?);
    let touched = Touched {
        source: AuditSource::from_stored(row.try_get("source")?),
        row: row.try_get("row_seq")?,
        message_id: row.try_get("message_id").unwrap_or(Uuid::nil()),
        name: rows::text_of(row, "name")?,
        key: rows::maybe_text_of(row, "message_key")?,
        change: AuditChange::from_stored(action, numbers, rows::time),
    };
    let (by, note) = (row.try_get("done_by")?, row.try_get("note")?);
    let signed = Signed { by, at: rows::time_of(row, "done_at")?, note };
    Ok(Some(AuditEntry::new(row.try_get("seq")?, action, touched, signed)))
}

pub(super) async fn purge_audit(names: &Names, pool: &PgPool, before: SystemTime) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(names.sql(PURGE_AUDIT)).bind(rows::micros(before)).execute(pool).await?.rows_affected())
}
