//! What people who operate a service do to rows, each time with an entry of who did it.

use std::time::SystemTime;

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};
use uuid::Uuid;

use super::{MySqlStore, dead, rows};
use crate::store::names::Names;
use crate::store::shards::Desk;
use crate::store::{
    AuditAction, AuditChange, DeadLetterId, DeadSource, Operation, OutboxId, Signed, StoreError, TimerName, Touched,
};

/// Locked, so that what is written down is what was there.
const DEAD_OUTBOX: &str = "
SELECT seq, id, name, message_key, LENGTH(payload) AS size FROM cqrs_outbox
WHERE seq = ? AND state = 'dead' FOR UPDATE";

const DEAD_WORK: &str = "
SELECT seq, id, name, message_key, LENGTH(payload) AS size FROM cqrs_work
WHERE seq = ? AND state = 'dead' FOR UPDATE";

const EDIT_OUTBOX: &str = "UPDATE cqrs_outbox SET payload = ?, headers = ? WHERE seq = ? AND state = 'dead'";

const EDIT_WORK: &str = "UPDATE cqrs_work SET payload = ?, headers = ? WHERE seq = ? AND state = 'dead'";

const WAITING: &str = "
SELECT seq, id, name, message_key FROM cqrs_outbox WHERE seq = ? AND state = 'waiting' FOR UPDATE";

/// What is behind it in its key goes on behind it.
const WAKE: &str = "UPDATE cqrs_outbox SET state = 'ready', due_at = ? WHERE seq = ?";

pub(super) const TIMER_BY_ID: &str = "
SELECT seq, id, name, timer_key AS message_key, due_at FROM cqrs_work FORCE INDEX (cqrs_work_timer_id)
WHERE timer_id = ? AND state IN ('ready', 'waiting') ORDER BY seq FOR UPDATE";

const TIMER_BY_KEY: &str = "
SELECT seq, id, name, timer_key AS message_key, due_at FROM cqrs_work FORCE INDEX (cqrs_work_timer)
WHERE timer_digest = ? AND state IN ('ready', 'waiting') ORDER BY seq FOR UPDATE";

const MOVE: &str = "
UPDATE cqrs_work SET state = 'waiting', due_at = ?, attempts = 0, error = NULL, deferred_since = NULL WHERE seq = ?";

const DELETE: &str = "DELETE FROM cqrs_work WHERE seq = ?";

const NOTE: &str = "
INSERT INTO cqrs_audit (done_at, done_by, action, source, row_seq, message_id, name, message_key, before_value,
    after_value, note)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Every statement of this file that finds rows, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[DEAD_OUTBOX, DEAD_WORK, EDIT_OUTBOX, EDIT_WORK, WAITING, WAKE, TIMER_BY_ID, TIMER_BY_KEY, MOVE, DELETE];

impl MySqlStore {
    pub(super) async fn do_it(&self, operation: Operation, signed: Signed) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let action = operation.action();
        let touched = match operation {
            Operation::Edit { id, payload, headers } => {
                let headers = rows::headers_bytes(&headers)?;
                self.named(edit(&mut tx, &self.names, id, payload, headers, signed.at).await)?
            }
            other => self.named(act(&mut tx, &self.names, other, signed.at).await)?,
        };
        for touched in &touched {
            self.named(note(&mut tx, &self.names, action, touched, &signed).await)?;
        }
        self.named(tx.commit().await)?;
        // What was behind a row may have been passed by. Another process finds it when it looks back.
        if touched.iter().any(|touched| touched.source == DeadSource::Outbox) {
            self.with_desk(Desk::start_over);
        }
        Ok(!touched.is_empty())
    }
}

async fn act(
    connection: &mut MySqlConnection,
    names: &Names,
    operation: Operation,
    now: SystemTime,
) -> Result<Vec<Touched>, sqlx::Error> {
    match operation {
        Operation::Replay(id) => {
            let found = dead_row(connection, names, id).await?;
            dead::replay(connection, names, id, now).await?;
            Ok(found.into_iter().map(|(touched, _)| touched).collect())
        }
        Operation::Discard(id) => {
            let found = dead_row(connection, names, id).await?;
            dead::discard(connection, names, id).await?;
            Ok(found.into_iter().map(|(touched, _)| touched).collect())
        }
        Operation::Requeue(id) => requeue(connection, names, id, now).await,
        Operation::Reschedule { timer, due } => reschedule(connection, names, timer, due).await,
        Operation::Cancel(timer) => cancel(connection, names, timer).await,
        // It comes with its headers as text.
        Operation::Edit { .. } => Ok(Vec::new()),
    }
}

/// A dead row, and how many bytes its payload has.
async fn dead_row(
    connection: &mut MySqlConnection,
    names: &Names,
    id: DeadLetterId,
) -> Result<Option<(Touched, u64)>, sqlx::Error> {
    let statement = match id.source {
        DeadSource::Outbox => DEAD_OUTBOX,
        DeadSource::Work => DEAD_WORK,
    };
    let Some(row) = sqlx::query(names.sql(statement)).bind(id.seq).fetch_optional(connection).await? else {
        return Ok(None);
    };
    let size: i64 = row.try_get("size")?;
    Ok(Some((touched(&row, id.source)?, size.unsigned_abs())))
}

/// What can be read: a row may be dead because something in it cannot be.
fn touched(row: &MySqlRow, source: DeadSource) -> Result<Touched, sqlx::Error> {
    Ok(Touched {
        source,
        row: row.try_get("seq")?,
        message_id: rows::id_of(row, "id").unwrap_or(Uuid::nil()),
        name: rows::text_of(row, "name").unwrap_or_default(),
        key: rows::some_text_of(row, "message_key").unwrap_or_default(),
        change: None,
    })
}

async fn edit(
    connection: &mut MySqlConnection,
    names: &Names,
    id: DeadLetterId,
    payload: Vec<u8>,
    headers: Vec<u8>,
    now: SystemTime,
) -> Result<Vec<Touched>, sqlx::Error> {
    let Some((mut touched, before)) = dead_row(connection, names, id).await? else { return Ok(Vec::new()) };
    touched.change = Some(AuditChange::Size { before, after: payload.len() as u64 });
    let statement = match id.source {
        DeadSource::Outbox => EDIT_OUTBOX,
        DeadSource::Work => EDIT_WORK,
    };
    sqlx::query(names.sql(statement)).bind(payload).bind(headers).bind(id.seq).execute(&mut *connection).await?;
    dead::replay(connection, names, id, now).await?;
    Ok(vec![touched])
}

async fn requeue(
    connection: &mut MySqlConnection,
    names: &Names,
    id: OutboxId,
    now: SystemTime,
) -> Result<Vec<Touched>, sqlx::Error> {
    let OutboxId(seq) = id;
    let waiting = sqlx::query(names.sql(WAITING)).bind(seq).fetch_optional(&mut *connection).await?;
    if let Some(row) = waiting {
        sqlx::query(names.sql(WAKE)).bind(rows::micros(now)).bind(seq).execute(&mut *connection).await?;
        return Ok(vec![touched(&row, DeadSource::Outbox)?]);
    }
    let Some((touched, _)) = dead_row(connection, names, id.dead_letter()).await? else { return Ok(Vec::new()) };
    dead::replay(connection, names, id.dead_letter(), now).await?;
    Ok(vec![touched])
}

/// The timers of a name that are neither being done nor dead, each with when it is due.
async fn timers(
    connection: &mut MySqlConnection,
    names: &Names,
    timer: TimerName,
) -> Result<Vec<(Touched, SystemTime)>, sqlx::Error> {
    let statement = match timer {
        TimerName::Id(id) => sqlx::query(names.sql(TIMER_BY_ID)).bind(rows::id_bytes(id)),
        TimerName::Key { name, key } => {
            sqlx::query(names.sql(TIMER_BY_KEY)).bind(rows::digest(&[&name, &key]).to_vec())
        }
    };
    let found = statement.fetch_all(connection).await?;
    found.iter().map(|row| Ok((touched(row, DeadSource::Work)?, rows::time_of(row, "due_at")?))).collect()
}

async fn reschedule(
    connection: &mut MySqlConnection,
    names: &Names,
    timer: TimerName,
    due: SystemTime,
) -> Result<Vec<Touched>, sqlx::Error> {
    let mut found = timers(connection, names, timer).await?;
    let Some((mut last, before)) = found.pop() else { return Ok(Vec::new()) };
    for (other, _) in found {
        sqlx::query(names.sql(DELETE)).bind(other.row).execute(&mut *connection).await?;
    }
    sqlx::query(names.sql(MOVE)).bind(rows::micros(due)).bind(last.row).execute(&mut *connection).await?;
    last.change = Some(AuditChange::Due { before, after: due });
    Ok(vec![last])
}

async fn cancel(
    connection: &mut MySqlConnection,
    names: &Names,
    timer: TimerName,
) -> Result<Vec<Touched>, sqlx::Error> {
    let found = timers(connection, names, timer).await?;
    for (timer, _) in &found {
        sqlx::query(names.sql(DELETE)).bind(timer.row).execute(&mut *connection).await?;
    }
    Ok(found.into_iter().map(|(timer, _)| timer).collect())
}

async fn note(
    connection: &mut MySqlConnection,
    names: &Names,
    action: AuditAction,
    touched: &Touched,
    signed: &Signed,
) -> Result<(), sqlx::Error> {
    let (before, after) = AuditChange::stored(touched.change, rows::micros);
    sqlx::query(names.sql(NOTE))
        .bind(rows::micros(signed.at))
        .bind(signed.by.as_bytes())
        .bind(action.as_str())
        .bind(touched.source.stored())
        .bind(touched.row)
        .bind(rows::id_bytes(touched.message_id))
        .bind(touched.name.as_bytes())
        .bind(touched.key.as_deref().map(str::as_bytes))
        .bind(before)
        .bind(after)
        .bind(signed.note.as_bytes())
        .execute(connection)
        .await
        .map(drop)
}
