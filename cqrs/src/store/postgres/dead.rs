//! Dead letters: listed, replayed, discarded. They lie where they died, so that they keep their place in the order.

use std::time::SystemTime;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::{PostgresStore, outbox, rows, work};
use crate::store::names::Names;
use crate::store::{DeadLetter, DeadLetterId, DeadSource, StoreError};

const LIST_OUTBOX: &str = "
SELECT seq, id, name, version, '' AS handler, '' AS consumer_group, topic, message_key, payload, headers, attempts,
    error, raised_at AS created_at
FROM cqrs_outbox WHERE state = 'dead' ORDER BY raised_at, seq LIMIT $1";

const LIST_WORK: &str = "
SELECT seq, id, name, version, handler, consumer_group, topic, message_key, payload, headers, attempts, error,
    created_at
FROM cqrs_work WHERE state = 'dead' ORDER BY created_at, seq LIMIT $1";

const REPLAY_OUTBOX: &str = "
UPDATE cqrs_outbox
SET state = 'ready', xact = pg_current_xact_id(), due_at = $1, attempts = 0, lost = 0, error = NULL
WHERE seq = $2 AND state = 'dead' RETURNING topic, message_key";

const REPLAY_WORK: &str = "
UPDATE cqrs_work SET state = 'ready', due_at = $1, attempts = 0, error = NULL, deferred_since = NULL
WHERE seq = $2 AND state = 'dead'";

const DISCARD_OUTBOX: &str = "DELETE FROM cqrs_outbox WHERE seq = $1 AND state = 'dead' RETURNING topic, message_key";

const DISCARD_WORK: &str = "DELETE FROM cqrs_work WHERE seq = $1 AND state = 'dead' RETURNING lane";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[LIST_OUTBOX, LIST_WORK, REPLAY_OUTBOX, REPLAY_WORK, DISCARD_OUTBOX, DISCARD_WORK];

pub(super) async fn list(names: &Names, pool: &PgPool, limit: usize) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let mut letters = Vec::new();
    for (source, statement) in [(DeadSource::Outbox, LIST_OUTBOX), (DeadSource::Work, LIST_WORK)] {
        for row in sqlx::query(names.sql(statement)).bind(rows::limit(limit)).fetch_all(pool).await? {
            letters.push(read(&row, source)?);
        }
    }
    letters.sort_by_key(|letter| letter.created_at);
    letters.truncate(limit);
    Ok(letters)
}

/// Reads what can be read: a row may be dead because something in it cannot be.
fn read(row: &PgRow, source: DeadSource) -> Result<DeadLetter, sqlx::Error> {
    let id = DeadLetterId { source, seq: row.try_get("seq")? };
    let message_id = row.try_get("id").unwrap_or(Uuid::nil());
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

impl PostgresStore {
    pub(super) async fn bring_back(&self, id: DeadLetterId, now: SystemTime) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let replayed = replay(&self.names, &mut tx, id, now).await?;
        tx.commit().await?;
        Ok(replayed)
    }

    pub(super) async fn throw_away(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let discarded = discard(&self.names, &mut tx, id).await?;
        tx.commit().await?;
        Ok(discarded)
    }
}

/// The topic and key of an outbox row.
type Place = (String, Option<String>);

async fn replay(
    names: &Names,
    connection: &mut PgConnection,
    id: DeadLetterId,
    now: SystemTime,
) -> Result<bool, sqlx::Error> {
    let now = rows::micros(now);
    match id.source {
        DeadSource::Outbox => {
            let replayed = sqlx::query_as(names.sql(REPLAY_OUTBOX)).bind(now).bind(id.seq);
            leave_outbox(names, replayed.fetch_optional(&mut *connection).await?, connection).await
        }
        // It stays where it is in its lane: what is behind it waits on.
        DeadSource::Work => {
            let end = sqlx::query(names.sql(REPLAY_WORK)).bind(now).bind(id.seq).execute(connection).await?;
            Ok(end.rows_affected() == 1)
        }
    }
}

async fn discard(names: &Names, connection: &mut PgConnection, id: DeadLetterId) -> Result<bool, sqlx::Error> {
    match id.source {
        DeadSource::Outbox => {
            let discarded = sqlx::query_as(names.sql(DISCARD_OUTBOX)).bind(id.seq);
            leave_outbox(names, discarded.fetch_optional(&mut *connection).await?, connection).await
        }
        DeadSource::Work => {
            let discarded = sqlx::query_scalar(names.sql(DISCARD_WORK)).bind(id.seq);
            let Some(lane) = discarded.fetch_optional(&mut *connection).await? else { return Ok(false) };
            work::free_next(names, connection, lane).await?;
            Ok(true)
        }
    }
}

/// Frees the key of a row that is dead no more, if there was one.
async fn leave_outbox(names: &Names, row: Option<Place>, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let Some((topic, key)) = row else { return Ok(false) };
    outbox::free_key(names, connection, topic, key).await?;
    Ok(true)
}
