//! Dead letters: listed, replayed, discarded. They lie where they died, so that they keep their place in the order.

use std::time::SystemTime;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::{SqliteStore, outbox, rows, work};
use crate::store::{DeadLetter, DeadLetterId, DeadSource, StoreError};

const LIST_OUTBOX: &str = "
SELECT seq, id, name, version, '' AS handler, '' AS consumer_group, topic, message_key, payload, headers, attempts,
    error, raised_at AS created_at
FROM cqrs_outbox WHERE state = 'dead' ORDER BY raised_at, seq LIMIT ?";

const LIST_WORK: &str = "
SELECT seq, id, name, version, handler, consumer_group, topic, message_key, payload, headers, attempts, error,
    created_at
FROM cqrs_work WHERE state = 'dead' ORDER BY created_at, seq LIMIT ?";

const REPLAY_OUTBOX: &str = "
UPDATE cqrs_outbox SET state = 'ready', due_at = ?, attempts = 0, lost = 0, error = NULL
WHERE seq = ? AND state = 'dead' RETURNING topic, message_key";

const REPLAY_WORK: &str = "
UPDATE cqrs_work SET state = 'ready', due_at = ?, attempts = 0, error = NULL, deferred_since = NULL
WHERE seq = ? AND state = 'dead'";

const DISCARD_OUTBOX: &str = "DELETE FROM cqrs_outbox WHERE seq = ? AND state = 'dead' RETURNING topic, message_key";

const DISCARD_WORK: &str = "DELETE FROM cqrs_work WHERE seq = ? AND state = 'dead' RETURNING lane";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[LIST_OUTBOX, LIST_WORK, REPLAY_OUTBOX, REPLAY_WORK, DISCARD_OUTBOX, DISCARD_WORK];

pub(super) async fn list(pool: &SqlitePool, limit: usize) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let mut letters = Vec::new();
    for (source, statement) in [(DeadSource::Outbox, LIST_OUTBOX), (DeadSource::Work, LIST_WORK)] {
        for row in sqlx::query(statement).bind(rows::limit(limit)).fetch_all(pool).await? {
            letters.push(read(&row, source)?);
        }
    }
    letters.sort_by_key(|letter| letter.created_at);
    letters.truncate(limit);
    Ok(letters)
}

/// Reads what can be read: a row may be dead because something in it cannot be.
pub(super) fn read(row: &SqliteRow, source: DeadSource) -> Result<DeadLetter, sqlx::Error> {
    let id = DeadLetterId { source, seq: row.try_get("seq")? };
    let message_id = rows::id_of(row, "id").unwrap_or(Uuid::nil());
    let version = rows::number_of(row, "version").unwrap_or(0);
    let error: Option<String> = row.try_get("error")?;
    let name = row.try_get("name").unwrap_or_default();
    let mut letter = DeadLetter::new(id, message_id, name, version, error.unwrap_or_default());
    letter.handler = row.try_get("handler").unwrap_or_default();
    letter.group = row.try_get("consumer_group").unwrap_or_default();
    letter.topic = row.try_get("topic").unwrap_or_default();
    letter.key = row.try_get("message_key").unwrap_or_default();
    letter.payload = row.try_get("payload").unwrap_or_default();
    letter.headers = rows::headers_of(row).unwrap_or_default();
    letter.attempts = rows::number_of(row, "attempts").unwrap_or(0);
    letter.created_at = rows::time_of(row, "created_at")?;
    Ok(letter)
}

impl SqliteStore {
    pub(super) async fn bring_back(&self, id: DeadLetterId, now: SystemTime) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let replayed = self.named(replay(&mut tx, id, now).await)?;
        tx.commit().await?;
        Ok(replayed)
    }

    pub(super) async fn throw_away(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let discarded = self.named(discard(&mut tx, id).await)?;
        tx.commit().await?;
        Ok(discarded)
    }
}

/// The topic and key of an outbox row.
type Place = (String, Option<String>);

pub(super) async fn replay(
    connection: &mut SqliteConnection,
    id: DeadLetterId,
    now: SystemTime,
) -> Result<bool, sqlx::Error> {
    let now = rows::micros(now);
    match id.source {
        DeadSource::Outbox => {
            let replayed = sqlx::query_as(REPLAY_OUTBOX).bind(now).bind(id.seq).fetch_optional(&mut *connection);
            leave_outbox(replayed.await?, connection).await
        }
        // It stays where it is in its lane: what is behind it waits on.
        DeadSource::Work => {
            let end = sqlx::query(REPLAY_WORK).bind(now).bind(id.seq).execute(connection).await?;
            Ok(end.rows_affected() == 1)
        }
    }
}

pub(super) async fn discard(connection: &mut SqliteConnection, id: DeadLetterId) -> Result<bool, sqlx::Error> {
    match id.source {
        DeadSource::Outbox => {
            let discarded = sqlx::query_as(DISCARD_OUTBOX).bind(id.seq).fetch_optional(&mut *connection);
            leave_outbox(discarded.await?, connection).await
        }
        DeadSource::Work => {
            let discarded = sqlx::query_scalar(DISCARD_WORK).bind(id.seq).fetch_optional(&mut *connection).await?;
            let Some(lane) = discarded else { return Ok(false) };
            work::free_next(connection, lane).await?;
            Ok(true)
        }
    }
}

/// Frees the key of a row that is dead no more, if there was one.
async fn leave_outbox(row: Option<Place>, connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let Some((topic, key)) = row else { return Ok(false) };
    outbox::free_key(connection, topic, key).await?;
    Ok(true)
}
