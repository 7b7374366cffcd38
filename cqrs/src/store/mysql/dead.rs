//! Dead letters: listed, replayed, discarded. They lie where they died, so that they keep their place in the order.

use std::time::SystemTime;

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};
use uuid::Uuid;

use super::{MySqlStore, outbox, rows, work};
use crate::store::desk::Desk;
use crate::store::names::Names;
use crate::store::{DeadLetter, DeadLetterId, DeadSource, StoreError};

const LIST_OUTBOX: &str = "
SELECT seq, id, name, version, X'' AS handler, X'' AS consumer_group, topic, message_key, payload, headers, attempts,
    error, raised_at AS created_at
FROM cqrs_outbox WHERE state = 'dead' ORDER BY raised_at, seq LIMIT ?";

const LIST_WORK: &str = "
SELECT seq, id, name, version, handler, consumer_group, topic, message_key, payload, headers, attempts, error,
    created_at
FROM cqrs_work WHERE state = 'dead' ORDER BY created_at, seq LIMIT ?";

/// Locks the row that is to leave its key: others are parked behind it only by whoever holds this lock.
const LOCK_OUTBOX: &str = "SELECT lane FROM cqrs_outbox WHERE seq = ? AND state = 'dead' FOR UPDATE";

const LOCK_WORK: &str = "SELECT lane_digest FROM cqrs_work WHERE seq = ? AND state = 'dead' FOR UPDATE";

const REPLAY_OUTBOX: &str = "
UPDATE cqrs_outbox SET state = 'ready', due_at = ?, attempts = 0, lost = 0, error = NULL WHERE seq = ?";

const REPLAY_WORK: &str = "
UPDATE cqrs_work SET state = 'ready', due_at = ?, attempts = 0, error = NULL, deferred_since = NULL
WHERE seq = ? AND state = 'dead'";

const DISCARD_OUTBOX: &str = "DELETE FROM cqrs_outbox WHERE seq = ?";

const DISCARD_WORK: &str = "DELETE FROM cqrs_work WHERE seq = ?";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[LIST_OUTBOX, LIST_WORK, LOCK_OUTBOX, LOCK_WORK, REPLAY_OUTBOX, REPLAY_WORK, DISCARD_OUTBOX, DISCARD_WORK];

/// Reads what can be read: a row may be dead because something in it cannot be.
pub(super) fn read(row: &MySqlRow, source: DeadSource) -> Result<DeadLetter, sqlx::Error> {
    let id = DeadLetterId { source, seq: row.try_get("seq")? };
    let message_id = rows::id_of(row, "id").unwrap_or(Uuid::nil());
    let version = rows::number_of(row, "version").unwrap_or(0);
    let error = rows::some_text_of(row, "error").ok().flatten();
    let name = rows::text_of(row, "name").unwrap_or_default();
    let mut letter = DeadLetter::new(id, message_id, name, version, error.unwrap_or_default());
    letter.handler = rows::text_of(row, "handler").unwrap_or_default();
    letter.group = rows::text_of(row, "consumer_group").unwrap_or_default();
    letter.topic = rows::text_of(row, "topic").unwrap_or_default();
    letter.key = rows::some_text_of(row, "message_key").unwrap_or_default();
    letter.payload = row.try_get("payload").unwrap_or_default();
    letter.headers = rows::headers_of(row).unwrap_or_default();
    letter.attempts = rows::number_of(row, "attempts").unwrap_or(0);
    letter.created_at = rows::time_of(row, "created_at")?;
    Ok(letter)
}

impl MySqlStore {
    pub(super) async fn list_dead(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let mut letters = Vec::new();
        for (source, statement) in [(DeadSource::Outbox, LIST_OUTBOX), (DeadSource::Work, LIST_WORK)] {
            let statement = sqlx::query(self.names.sql(statement)).bind(rows::limit(limit));
            for row in self.named(statement.fetch_all(&self.pool).await)? {
                letters.push(self.named(read(&row, source))?);
            }
        }
        letters.sort_by_key(|letter| letter.created_at);
        letters.truncate(limit);
        Ok(letters)
    }

    pub(super) async fn bring_back(&self, id: DeadLetterId, now: SystemTime) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let replayed = self.named(replay(&mut tx, &self.names, id, now).await)?;
        self.named(tx.commit().await)?;
        self.look_again(id);
        Ok(replayed)
    }

    pub(super) async fn throw_away(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let discarded = self.named(discard(&mut tx, &self.names, id).await)?;
        self.named(tx.commit().await)?;
        self.look_again(id);
        Ok(discarded)
    }

    /// What was behind it may have been passed by. Another process finds it when it looks back.
    fn look_again(&self, id: DeadLetterId) {
        if id.source == DeadSource::Outbox {
            self.with_desk(Desk::start_over);
        }
    }
}

pub(super) async fn replay(
    connection: &mut MySqlConnection,
    names: &Names,
    id: DeadLetterId,
    now: SystemTime,
) -> Result<bool, sqlx::Error> {
    let now = rows::micros(now);
    match id.source {
        DeadSource::Outbox => {
            let lane = sqlx::query_scalar(names.sql(LOCK_OUTBOX)).bind(id.seq).fetch_optional(&mut *connection);
            let Some(lane) = lane.await? else { return Ok(false) };
            sqlx::query(names.sql(REPLAY_OUTBOX)).bind(now).bind(id.seq).execute(&mut *connection).await?;
            outbox::free_key(connection, names, lane).await?;
            Ok(true)
        }
        // It stays where it is in its lane: what is behind it waits on.
        DeadSource::Work => {
            let end = sqlx::query(names.sql(REPLAY_WORK)).bind(now).bind(id.seq).execute(connection).await?;
            Ok(end.rows_affected() == 1)
        }
    }
}

pub(super) async fn discard(
    connection: &mut MySqlConnection,
    names: &Names,
    id: DeadLetterId,
) -> Result<bool, sqlx::Error> {
    match id.source {
        DeadSource::Outbox => {
            let lane = sqlx::query_scalar(names.sql(LOCK_OUTBOX)).bind(id.seq).fetch_optional(&mut *connection);
            let Some(lane) = lane.await? else { return Ok(false) };
            sqlx::query(names.sql(DISCARD_OUTBOX)).bind(id.seq).execute(&mut *connection).await?;
            outbox::free_key(connection, names, lane).await?;
            Ok(true)
        }
        DeadSource::Work => {
            let lane = sqlx::query_scalar(names.sql(LOCK_WORK)).bind(id.seq).fetch_optional(&mut *connection);
            let Some(lane) = lane.await? else { return Ok(false) };
            sqlx::query(names.sql(DISCARD_WORK)).bind(id.seq).execute(&mut *connection).await?;
            work::free_next(connection, names, lane).await?;
            Ok(true)
        }
    }
}
