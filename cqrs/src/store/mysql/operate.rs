//! What people who operate a service do to rows, each time with an entry of who did it.

use std::time::SystemTime;

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};
use uuid::Uuid;

use super::{MySqlStore, dead, rows, sagas};
use crate::store::desk::Desk;
use crate::store::names::Names;
use crate::store::operating::{Statements, operate};
use crate::store::{
    AuditAction, AuditChange, AuditSource, DeadLetterId, DeadSource, Operation, OutboxId, SagaAsked, Signed,
    StoreError, TimerName, Touched,
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
        let mut on = On { names: &self.names, connection: &mut tx };
        let touched = self.named(operate(&mut on, operation, &signed).await)?;
        self.named(tx.commit().await)?;
        // What was behind a row may have been passed by. Another process finds it when it looks back.
        if touched.iter().any(|touched| touched.source == AuditSource::Outbox) {
            self.with_desk(Desk::start_over);
        }
        Ok(!touched.is_empty())
    }
}

struct On<'t> {
    names: &'t Names,
    connection: &'t mut MySqlConnection,
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
        dead::replay(self.connection, self.names, id, now).await.map(drop)
    }

    async fn discard(&mut self, id: DeadLetterId) -> Result<(), sqlx::Error> {
        dead::discard(self.connection, self.names, id).await.map(drop)
    }

    async fn edit(&mut self, id: DeadLetterId, payload: Vec<u8>, headers: String) -> Result<(), sqlx::Error> {
        let statement = match id.source {
            DeadSource::Outbox => EDIT_OUTBOX,
            DeadSource::Work => EDIT_WORK,
        };
        let edit = sqlx::query(self.names.sql(statement)).bind(payload).bind(headers.into_bytes()).bind(id.seq);
        edit.execute(&mut *self.connection).await.map(drop)
    }

    async fn wake(&mut self, id: OutboxId, now: SystemTime) -> Result<Option<Touched>, sqlx::Error> {
        let OutboxId(seq) = id;
        let Some(row) = sqlx::query(self.names.sql(WAITING)).bind(seq).fetch_optional(&mut *self.connection).await?
        else {
            return Ok(None);
        };
        sqlx::query(self.names.sql(WAKE)).bind(rows::micros(now)).bind(seq).execute(&mut *self.connection).await?;
        touched(&row, DeadSource::Outbox).map(Some)
    }

    async fn timers(&mut self, timer: TimerName) -> Result<Vec<(Touched, SystemTime)>, sqlx::Error> {
        let statement = match timer {
            TimerName::Id(id) => sqlx::query(self.names.sql(TIMER_BY_ID)).bind(rows::id_bytes(id)),
            TimerName::Key { name, key } => {
                sqlx::query(self.names.sql(TIMER_BY_KEY)).bind(rows::digest(&[&name, &key]).to_vec())
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
        sagas::ask(self.connection, self.names, id.as_bytes(), asked, now).await
    }

    async fn note(&mut self, action: AuditAction, touched: &Touched, signed: &Signed) -> Result<(), sqlx::Error> {
        let (before, after) = AuditChange::stored(touched.change, rows::micros);
        sqlx::query(self.names.sql(NOTE))
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
            .execute(&mut *self.connection)
            .await
            .map(drop)
    }
}

/// What can be read: a row may be dead because something in it cannot be.
fn touched(row: &MySqlRow, source: impl Into<AuditSource>) -> Result<Touched, sqlx::Error> {
    Ok(Touched {
        source: source.into(),
        row: row.try_get("seq")?,
        message_id: rows::id_of(row, "id").unwrap_or(Uuid::nil()),
        name: rows::text_of(row, "name").unwrap_or_default(),
        key: rows::some_text_of(row, "message_key").unwrap_or_default(),
        change: None,
    })
}
