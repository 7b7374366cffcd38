//! What people who operate a service do to rows, each time with an entry of who did it.

use std::time::SystemTime;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{PostgresStore, dead, rows};
use crate::store::names::Names;
use crate::store::{
    AuditAction, AuditChange, DeadLetterId, DeadSource, Operation, OutboxId, Signed, StoreError, TimerName, Touched,
};

/// Locked, so that what is written down is what was there.
const DEAD_OUTBOX: &str = "
SELECT seq, id, name, message_key, octet_length(payload)::bigint AS size FROM cqrs_outbox
WHERE seq = $1 AND state = 'dead' FOR UPDATE";

const DEAD_WORK: &str = "
SELECT seq, id, name, message_key, octet_length(payload)::bigint AS size FROM cqrs_work
WHERE seq = $1 AND state = 'dead' FOR UPDATE";

const EDIT_OUTBOX: &str = "UPDATE cqrs_outbox SET payload = $1, headers = $2 WHERE seq = $3 AND state = 'dead'";

const EDIT_WORK: &str = "UPDATE cqrs_work SET payload = $1, headers = $2 WHERE seq = $3 AND state = 'dead'";

/// What is behind it in its key goes on behind it.
const WAKE: &str = "
UPDATE cqrs_outbox SET state = 'ready', xact = pg_current_xact_id(), due_at = $1 WHERE seq = $2 AND state = 'waiting'
RETURNING seq, id, name, message_key";

const TIMER_BY_ID: &str = "
SELECT seq, id, name, timer_key AS message_key, due_at FROM cqrs_work
WHERE kind = 'timer' AND id = $1 AND state IN ('ready', 'waiting') ORDER BY seq FOR UPDATE";

const TIMER_BY_KEY: &str = "
SELECT seq, id, name, timer_key AS message_key, due_at FROM cqrs_work
WHERE kind = 'timer' AND timer_key IS NOT NULL AND name = $1 AND timer_key = $2 AND state IN ('ready', 'waiting')
ORDER BY seq FOR UPDATE";

const MOVE: &str = "
UPDATE cqrs_work SET state = 'waiting', due_at = $1, attempts = 0, error = NULL, deferred_since = NULL WHERE seq = $2";

const DELETE: &str = "DELETE FROM cqrs_work WHERE seq = $1";

const NOTE: &str = "
INSERT INTO cqrs_audit (done_at, done_by, action, source, row_seq, message_id, name, message_key, before_value,
    after_value, note)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[DEAD_OUTBOX, DEAD_WORK, EDIT_OUTBOX, EDIT_WORK, WAKE, TIMER_BY_ID, TIMER_BY_KEY, MOVE, DELETE, NOTE];

impl PostgresStore {
    pub(super) async fn do_it(&self, operation: Operation, signed: Signed) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let action = operation.action();
        let touched = match operation {
            Operation::Edit { id, payload, headers } => {
                let headers = rows::headers_text(&headers)?;
                edit(&self.names, &mut tx, id, payload, headers, signed.at).await?
            }
            other => act(&self.names, &mut tx, other, signed.at).await?,
        };
        for touched in &touched {
            note(&self.names, &mut tx, action, touched, &signed).await?;
        }
        tx.commit().await?;
        Ok(!touched.is_empty())
    }
}

async fn act(
    names: &Names,
    connection: &mut PgConnection,
    operation: Operation,
    now: SystemTime,
) -> Result<Vec<Touched>, sqlx::Error> {
    match operation {
        Operation::Replay(id) => {
            let found = dead_row(names, connection, id).await?;
            dead::replay(names, connection, id, now).await?;
            Ok(found.into_iter().map(|(touched, _)| touched).collect())
        }
        Operation::Discard(id) => {
            let found = dead_row(names, connection, id).await?;
            dead::discard(names, connection, id).await?;
            Ok(found.into_iter().map(|(touched, _)| touched).collect())
        }
        Operation::Requeue(id) => requeue(names, connection, id, now).await,
        Operation::Reschedule { timer, due } => reschedule(names, connection, timer, due).await,
        Operation::Cancel(timer) => cancel(names, connection, timer).await,
        // It comes with its headers as text.
        Operation::Edit { .. } => Ok(Vec::new()),
    }
}

/// A dead row, and how many bytes its payload has.
async fn dead_row(
    names: &Names,
    connection: &mut PgConnection,
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
fn touched(row: &PgRow, source: DeadSource) -> Result<Touched, sqlx::Error> {
    Ok(Touched {
        source,
        row: row.try_get("seq")?,
        message_id: row.try_get("id").unwrap_or(Uuid::nil()),
        name: row.try_get("name").unwrap_or_default(),
        key: row.try_get("message_key").unwrap_or_default(),
        change: None,
    })
}

async fn edit(
    names: &Names,
    connection: &mut PgConnection,
    id: DeadLetterId,
    payload: Vec<u8>,
    headers: String,
    now: SystemTime,
) -> Result<Vec<Touched>, sqlx::Error> {
    let Some((mut touched, before)) = dead_row(names, connection, id).await? else { return Ok(Vec::new()) };
    touched.change = Some(AuditChange::Size { before, after: payload.len() as u64 });
    let statement = match id.source {
        DeadSource::Outbox => EDIT_OUTBOX,
        DeadSource::Work => EDIT_WORK,
    };
    sqlx::query(names.sql(statement)).bind(payload).bind(headers).bind(id.seq).execute(&mut *connection).await?;
    dead::replay(names, connection, id, now).await?;
    Ok(vec![touched])
}

async fn requeue(
    names: &Names,
    connection: &mut PgConnection,
    id: OutboxId,
    now: SystemTime,
) -> Result<Vec<Touched>, sqlx::Error> {
    let OutboxId(seq) = id;
    let woken = sqlx::query(names.sql(WAKE)).bind(rows::micros(now)).bind(seq).fetch_optional(&mut *connection).await?;
    if let Some(row) = woken {
        return Ok(vec![touched(&row, DeadSource::Outbox)?]);
    }
    let Some((touched, _)) = dead_row(names, connection, id.dead_letter()).await? else { return Ok(Vec::new()) };
    dead::replay(names, connection, id.dead_letter(), now).await?;
    Ok(vec![touched])
}

/// The timers of a name that are neither being done nor dead, each with when it is due.
async fn timers(
    names: &Names,
    connection: &mut PgConnection,
    timer: TimerName,
) -> Result<Vec<(Touched, SystemTime)>, sqlx::Error> {
    let statement = match timer {
        TimerName::Id(id) => sqlx::query(names.sql(TIMER_BY_ID)).bind(id),
        TimerName::Key { name, key } => {
            sqlx::query(names.sql(TIMER_BY_KEY)).bind(rows::escape(name)).bind(rows::escape(key))
        }
    };
    let found = statement.fetch_all(connection).await?;
    found.iter().map(|row| Ok((touched(row, DeadSource::Work)?, rows::time_of(row, "due_at")?))).collect()
}

async fn reschedule(
    names: &Names,
    connection: &mut PgConnection,
    timer: TimerName,
    due: SystemTime,
) -> Result<Vec<Touched>, sqlx::Error> {
    let mut found = timers(names, connection, timer).await?;
    let Some((mut last, before)) = found.pop() else { return Ok(Vec::new()) };
    for (other, _) in found {
        sqlx::query(names.sql(DELETE)).bind(other.row).execute(&mut *connection).await?;
    }
    sqlx::query(names.sql(MOVE)).bind(rows::micros(due)).bind(last.row).execute(&mut *connection).await?;
    last.change = Some(AuditChange::Due { before, after: due });
    Ok(vec![last])
}

async fn cancel(names: &Names, connection: &mut PgConnection, timer: TimerName) -> Result<Vec<Touched>, sqlx::Error> {
    let found = timers(names, connection, timer).await?;
    for (timer, _) in &found {
        sqlx::query(names.sql(DELETE)).bind(timer.row).execute(&mut *connection).await?;
    }
    Ok(found.into_iter().map(|(timer, _)| timer).collect())
}

async fn note(
    names: &Names,
    connection: &mut PgConnection,
    action: AuditAction,
    touched: &Touched,
    signed: &Signed,
) -> Result<(), sqlx::Error> {
    let (before, after) = AuditChange::stored(touched.change, rows::micros);
    sqlx::query(names.sql(NOTE))
        .bind(rows::micros(signed.at))
        .bind(rows::shown(&signed.by))
        .bind(action.as_str())
        .bind(touched.source.stored())
        .bind(touched.row)
        .bind(touched.message_id)
        .bind(&touched.name)
        .bind(&touched.key)
        .bind(before)
        .bind(after)
        .bind(rows::shown(&signed.note))
        .execute(connection)
        .await
        .map(drop)
}
