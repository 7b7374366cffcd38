//! What people who operate a service do to rows, each time with an entry of who did it.

use std::time::SystemTime;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{PostgresStore, dead, rows, sagas};
use crate::store::names::Names;
use crate::store::operating::{Statements, operate};
use crate::store::{
    AuditAction, AuditChange, AuditSource, DeadLetterId, DeadSource, Operation, OutboxId, SagaAsked, Signed,
    StoreError, TimerName, Touched,
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
        let mut on = On { names: &self.names, connection: &mut tx };
        let touched = operate(&mut on, operation, &signed).await?;
        tx.commit().await?;
        Ok(!touched.is_empty())
    }
}

struct On<'t> {
    names: &'t Names,
    connection: &'t mut PgConnection,
}

impl Statements for On<'_> {
    async fn dead_row(&mut self, id: DeadLetterId) -> Result<Option<(Touched, u64)>, sqlx::Error> {
        let statement = match id.source {
            DeadSource::Outbox => DEAD_OUTBOX,
            DeadSource::Work => DEAD_WORK,
        };
        let found = sqlx::query(self.names.sql(statement)).bind(id.seq).fetch_optional(&mut *self.connection).await?;
        let Some(row) = found else { return Ok(None) };
        let size: i64 = row.try_get("size")?;
        Ok(Some((touched(&row, id.source)?, size.unsigned_abs())))
    }

    async fn replay(&mut self, id: DeadLetterId, now: SystemTime) -> Result<(), sqlx::Error> {
        dead::replay(self.names, self.connection, id, now).await.map(drop)
    }

    async fn discard(&mut self, id: DeadLetterId) -> Result<(), sqlx::Error> {
        dead::discard(self.names, self.connection, id).await.map(drop)
    }

    async fn edit(&mut self, id: DeadLetterId, payload: Vec<u8>, headers: String) -> Result<(), sqlx::Error> {
        let statement = match id.source {
            DeadSource::Outbox => EDIT_OUTBOX,
            DeadSource::Work => EDIT_WORK,
        };
        let edit = sqlx::query(self.names.sql(statement)).bind(payload).bind(headers).bind(id.seq);
        edit.execute(&mut *self.connection).await.map(drop)
    }

    async fn wake(&mut self, id: OutboxId, now: SystemTime) -> Result<Option<Touched>, sqlx::Error> {
        let OutboxId(seq) = id;
        let woken = sqlx::query(self.names.sql(WAKE))
            .bind(rows::micros(now))
            .bind(seq)
            .fetch_optional(&mut *self.connection)
            .await?;
        woken.map(|row| touched(&row, DeadSource::Outbox)).transpose()
    }

    async fn timers(&mut self, timer: TimerName) -> Result<Vec<(Touched, SystemTime)>, sqlx::Error> {
        let statement = match timer {
            TimerName::Id(id) => sqlx::query(self.names.sql(TIMER_BY_ID)).bind(id),
            TimerName::Key { name, key } => {
                sqlx::query(self.names.sql(TIMER_BY_KEY)).bind(rows::escape(name)).bind(rows::escape(key))
            }
        };
        let found = statement.fetch_all(&mut *self.connection).await?;
        found.iter().map(|row| Ok((touched(row, DeadSource::Work)?, rows::time_of(row, "due_at")?))).collect()
    }

    async fn move_timer(&mut self, seq: i64, due: SystemTime) -> Result<(), sqlx::Error> {
        sqlx::query(self.names.sql(MOVE))
            .bind(rows::micros(due))
            .bind(seq)
            .execute(&mut *self.connection)
            .await
            .map(drop)
    }

    async fn delete_timer(&mut self, seq: i64) -> Result<(), sqlx::Error> {
        sqlx::query(self.names.sql(DELETE)).bind(seq).execute(&mut *self.connection).await.map(drop)
    }

    async fn ask_saga(&mut self, id: &str, asked: SagaAsked, now: SystemTime) -> Result<Option<String>, sqlx::Error> {
        sagas::ask(self.names, &mut *self.connection, id.to_owned(), asked, now).await
    }

    async fn note(&mut self, action: AuditAction, touched: &Touched, signed: &Signed) -> Result<(), sqlx::Error> {
        let (before, after) = AuditChange::stored(touched.change, rows::micros);
        sqlx::query(self.names.sql(NOTE))
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
            .execute(&mut *self.connection)
            .await
            .map(drop)
    }
}

/// What can be read: a row may be dead because something in it cannot be.
fn touched(row: &PgRow, source: impl Into<AuditSource>) -> Result<Touched, sqlx::Error> {
    Ok(Touched {
        source: source.into(),
        row: row.try_get("seq")?,
        message_id: row.try_get("id").unwrap_or(Uuid::nil()),
        name: row.try_get("name").unwrap_or_default(),
        key: row.try_get("message_key").unwrap_or_default(),
        change: None,
    })
}
