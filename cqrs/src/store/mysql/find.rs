//! Finding: rows of the outbox by state, dead letters and timers by filter, what was done to them.

use std::time::SystemTime;

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlPool, Row};
use uuid::Uuid;

use super::{dead, rows, timer};
use crate::store::names::Names;
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
    (SELECT raised_at FROM cqrs_outbox FORCE INDEX (cqrs_outbox_state)
        WHERE state = 'ready' ORDER BY seq LIMIT 1) AS first_ready,
    (SELECT raised_at FROM cqrs_outbox FORCE INDEX (cqrs_outbox_state)
        WHERE state = 'waiting' ORDER BY seq LIMIT 1) AS first_waiting,
    (SELECT raised_at FROM cqrs_outbox FORCE INDEX (cqrs_outbox_state)
        WHERE state = 'parked' ORDER BY seq LIMIT 1) AS first_parked";

/// The rows of a state, in the order of the index of states.
macro_rules! list {
    ($state:literal) => {
        concat!(
            "SELECT seq, id, name, version, topic, message_key, payload, headers, raised_at, attempts, error, due_at
            FROM cqrs_outbox FORCE INDEX (cqrs_outbox_state) WHERE state = '",
            $state,
            "' AND seq > ? AND (? IS NULL OR topic = ?) ORDER BY seq LIMIT ?"
        )
    };
}

pub(super) const READY: &str = list!("ready");
const WAITING: &str = list!("waiting");
const PARKED: &str = list!("parked");
const DEAD: &str = list!("dead");

const CLAIMED: &str = "
SELECT seq, id, name, version, topic, message_key, payload, headers, raised_at, attempts, error, due_at
FROM cqrs_outbox FORCE INDEX (PRIMARY)
WHERE seq IN (#) AND state = 'ready' AND seq > ? AND (? IS NULL OR topic = ?) ORDER BY seq LIMIT ?";

/// Dead rows are few: they are read, and put in their order.
const FIND_OUTBOX: &str = "
SELECT seq, id, name, version, X'' AS handler, X'' AS consumer_group, topic, message_key,
    CASE WHEN ? THEN payload ELSE X'' END AS payload, headers, attempts, error, raised_at AS created_at
FROM cqrs_outbox FORCE INDEX (cqrs_outbox_state)
WHERE state = 'dead' AND (raised_at, seq) > (?, ?) AND raised_at >= ? AND raised_at <= ?
    AND (? IS NULL OR topic = ?) AND (? IS NULL OR name = ?) AND (? IS NULL OR INSTR(error, ?) > 0)
ORDER BY raised_at, seq LIMIT ?";

const FIND_WORK: &str = "
SELECT seq, id, name, version, handler, consumer_group, topic, message_key,
    CASE WHEN ? THEN payload ELSE X'' END AS payload, headers, attempts, error, created_at
FROM cqrs_work FORCE INDEX (cqrs_work_state)
WHERE state = 'dead' AND (created_at, seq) > (?, ?) AND created_at >= ? AND created_at <= ?
    AND (? IS NULL OR topic = ?) AND (? IS NULL OR name = ?) AND (? IS NULL OR INSTR(error, ?) > 0)
    AND (? IS NULL OR handler = ?) AND (? IS NULL OR consumer_group = ?)
ORDER BY created_at, seq LIMIT ?";

const SHOW_OUTBOX: &str = "
SELECT seq, id, name, version, X'' AS handler, X'' AS consumer_group, topic, message_key, payload, headers, attempts,
    error, raised_at AS created_at
FROM cqrs_outbox WHERE seq = ? AND state = 'dead'";

const SHOW_WORK: &str = "
SELECT seq, id, name, version, handler, consumer_group, topic, message_key, payload, headers, attempts, error,
    created_at
FROM cqrs_work WHERE seq = ? AND state = 'dead'";

/// In the order of the index by time, as when all are listed.
pub(super) const TIMERS: &str = "
SELECT id, name, timer_key, due_at FROM cqrs_work FORCE INDEX (cqrs_work_timer_due)
WHERE timer_due IS NOT NULL AND state NOT IN ('claimed', 'dead') AND (? IS NULL OR name = ?)
    AND (? IS NULL OR timer_key = ?)
ORDER BY timer_due, seq LIMIT ?";

const TIMERS_NAMED: &str = "
SELECT id, name, timer_key, due_at FROM cqrs_work FORCE INDEX (cqrs_work_timer)
WHERE timer_digest = ? AND state NOT IN ('claimed', 'dead') ORDER BY due_at, seq LIMIT ?";

const AUDIT: &str = "
SELECT seq, done_at, done_by, action, source, row_seq, message_id, name, message_key, before_value, after_value, note
FROM cqrs_audit WHERE seq < ? ORDER BY seq DESC LIMIT ?";

pub(super) const PURGE_AUDIT: &str = "DELETE FROM cqrs_audit WHERE done_at < ?";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    STATUS,
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

pub(super) async fn status(names: &Names, pool: &MySqlPool, busy: usize) -> Result<OutboxStatus, sqlx::Error> {
    let row = sqlx::query(names.sql(STATUS)).fetch_one(pool).await?;
    let count = |column| row.try_get::<i64, &str>(column).map(|count| u64::try_from(count).unwrap_or(0));
    let claimed = (busy as u64).min(count("ready")?);
    let mut oldest: Option<i64> = None;
    for first in ["first_ready", "first_waiting", "first_parked"] {
        let raised_at: Option<i64> = row.try_get(first)?;
        oldest = oldest.into_iter().chain(raised_at).min();
    }
    Ok(OutboxStatus {
        ready: count("ready")? - claimed,
        waiting: count("waiting")?,
        parked: count("parked")?,
        claimed,
        dead: count("dead")?,
        oldest: oldest.map(rows::time),
    })
}

/// `busy`: the rows that this process is busy with.
pub(super) async fn list(
    names: &Names,
    pool: &MySqlPool,
    search: OutboxSearch,
    busy: &[i64],
) -> Result<Vec<OutboxRow>, sqlx::Error> {
    let mut limit = search.limit;
    let statement = match search.state {
        // As many more as may have to be left out.
        OutboxState::Ready => {
            limit = limit.saturating_add(busy.len());
            sqlx::query(names.sql(READY))
        }
        OutboxState::Waiting => sqlx::query(names.sql(WAITING)),
        OutboxState::Parked => sqlx::query(names.sql(PARKED)),
        OutboxState::Dead => sqlx::query(names.sql(DEAD)),
        OutboxState::Claimed if busy.is_empty() => return Ok(Vec::new()),
        OutboxState::Claimed => rows::listed(names, CLAIMED, busy),
    };
    let topic = search.topic.map(String::into_bytes);
    let found = statement
        .bind(search.after.map_or(i64::MIN, |OutboxId(seq)| seq))
        .bind(topic.clone())
        .bind(topic)
        .bind(rows::limit(limit))
        .fetch_all(pool)
        .await?;
    let mut listed: Vec<OutboxRow> =
        found.iter().map(|row| outbox_row(row, search.state)).collect::<Result<_, sqlx::Error>>()?;
    if search.state == OutboxState::Ready {
        listed.retain(|row| !busy.contains(&row.id.0));
    }
    listed.truncate(search.limit);
    Ok(listed)
}

fn outbox_row(row: &MySqlRow, state: OutboxState) -> Result<OutboxRow, sqlx::Error> {
    Ok(OutboxRow {
        id: OutboxId(row.try_get("seq")?),
        state,
        record: OutboxRecord {
            id: rows::id_of(row, "id").unwrap_or(Uuid::nil()),
            name: rows::text_of(row, "name").unwrap_or_default(),
            version: rows::number_of(row, "version").unwrap_or(0),
            topic: rows::text_of(row, "topic").unwrap_or_default(),
            key: rows::some_text_of(row, "message_key").unwrap_or_default(),
            payload: row.try_get("payload").unwrap_or_default(),
            headers: rows::headers_of(row).unwrap_or_default(),
            raised_at: rows::time_of(row, "raised_at")?,
        },
        attempts: rows::number_of(row, "attempts").unwrap_or(0),
        error: rows::some_text_of(row, "error").unwrap_or_default(),
        due_at: rows::time_of(row, "due_at")?,
    })
}

pub(super) async fn dead(names: &Names, pool: &MySqlPool, search: DeadSearch) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let mut letters = Vec::new();
    for (source, statement) in [(DeadSource::Outbox, FIND_OUTBOX), (DeadSource::Work, FIND_WORK)] {
        if source == DeadSource::Outbox && !search.filter.takes_events() {
            continue;
        }
        let filter = search.filter.clone();
        let (after, behind) =
            search.place(source).map_or((i64::MIN, i64::MIN), |(time, seq)| (rows::micros(time), seq));
        let mut found = sqlx::query(names.sql(statement))
            .bind(search.with_payload)
            .bind(after)
            .bind(behind)
            .bind(filter.since.map_or(i64::MIN, rows::micros))
            .bind(filter.until.map_or(i64::MAX, rows::micros));
        let of_work = [filter.handler, filter.group].into_iter().filter(|_| source == DeadSource::Work);
        for said in [filter.topic, filter.name, filter.error].into_iter().chain(of_work) {
            let said = said.map(String::into_bytes);
            found = found.bind(said.clone()).bind(said);
        }
        for row in found.bind(rows::limit(search.limit)).fetch_all(pool).await? {
            letters.push(dead::read(&row, source)?);
        }
    }
    Ok(search.merged(letters))
}

pub(super) async fn letter(
    names: &Names,
    pool: &MySqlPool,
    id: DeadLetterId,
) -> Result<Option<DeadLetter>, sqlx::Error> {
    let statement = match id.source {
        DeadSource::Outbox => SHOW_OUTBOX,
        DeadSource::Work => SHOW_WORK,
    };
    let found = sqlx::query(names.sql(statement)).bind(id.seq).fetch_optional(pool).await?;
    found.map(|row| dead::read(&row, id.source)).transpose()
}

pub(super) async fn timers(
    names: &Names,
    pool: &MySqlPool,
    filter: TimerFilter,
    limit: usize,
) -> Result<Vec<TimerRecord>, sqlx::Error> {
    let found = match (filter.name, filter.key) {
        (Some(name), Some(key)) => sqlx::query(names.sql(TIMERS_NAMED)).bind(rows::digest(&[&name, &key]).to_vec()),
        said => {
            let (name, key) = (said.0.map(String::into_bytes), said.1.map(String::into_bytes));
            sqlx::query(names.sql(TIMERS)).bind(name.clone()).bind(name).bind(key.clone()).bind(key)
        }
    };
    found.bind(rows::limit(limit)).fetch_all(pool).await?.iter().map(timer::read).collect()
}

/// Entries of an action that only newer programs know are left out.
pub(super) async fn audit(
    names: &Names,
    pool: &MySqlPool,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<AuditEntry>, sqlx::Error> {
    let found =
        sqlx::query(names.sql(AUDIT)).bind(before.unwrap_or(i64::MAX)).bind(rows::limit(limit)).fetch_all(pool).await?;
    found.iter().map(entry).filter_map(Result::transpose).collect()
}

fn entry(row: &MySqlRow) -> Result<Option<AuditEntry>, sqlx::Error> {
    let Some(action) = AuditAction::from_stored(row.try_get("action")?) else { return Ok(None) };
    let numbers = (row.try_get("before_value")?, row.try_get("after_value")?);
    let touched = Touched {
        source: AuditSource::from_stored(row.try_get("source")?),
        row: row.try_get("row_seq")?,
        message_id: rows::id_of(row, "message_id").unwrap_or(Uuid::nil()),
        name: rows::text_of(row, "name").unwrap_or_default(),
        key: rows::some_text_of(row, "message_key").unwrap_or_default(),
        change: AuditChange::from_stored(action, numbers, rows::time),
    };
    let text = |column| rows::text_of(row, column).unwrap_or_default();
    let (by, note) = (text("done_by"), text("note"));
    let signed = Signed { by, at: rows::time_of(row, "done_at")?, note };
    Ok(Some(AuditEntry::new(row.try_get("seq")?, action, touched, signed)))
}

pub(super) async fn purge_audit(names: &Names, pool: &MySqlPool, before: SystemTime) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(names.sql(PURGE_AUDIT)).bind(rows::micros(before)).execute(pool).await?.rows_affected())
}
