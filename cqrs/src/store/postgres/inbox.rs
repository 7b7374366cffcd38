//! Inbox marks.

use std::collections::HashSet;
use std::time::SystemTime;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::rows;
use crate::store::names::Names;
use crate::store::{InboxMark, Standing, StoreError};

/// How many marks one statement deletes: so few that nobody waits for its locks for long.
const PURGED_AT_ONCE: u16 = 1_000;

const PURGE: &str = "
DELETE FROM cqrs_inbox WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM cqrs_inbox WHERE handled_at < $1 ORDER BY handled_at LIMIT $2 FOR UPDATE SKIP LOCKED
))";

const STANDING: &str = "
SELECT EXISTS (SELECT 1 FROM cqrs_inbox WHERE consumer_group = $1 AND handler = $2 AND event_id = $3),
    EXISTS (SELECT 1 FROM cqrs_work WHERE lane = $4)";

/// Waits for whoever has stored the same mark and not committed it.
const MARK: &str = "
INSERT INTO cqrs_inbox (consumer_group, handler, event_id, handled_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[]) AS mark (g, h, e, t) ORDER BY g, h, e
ON CONFLICT DO NOTHING RETURNING consumer_group, handler, event_id";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[PURGE, STANDING, MARK];

/// Where a message stands.
pub(super) async fn standing(
    names: &Names,
    pool: &PgPool,
    mark: InboxMark,
    lane: Option<String>,
) -> Result<Standing, sqlx::Error> {
    let statement = sqlx::query_as(names.sql(STANDING)).bind(mark.group).bind(mark.handler).bind(mark.event_id);
    Ok(match statement.bind(lane).fetch_one(pool).await? {
        (true, _) => Standing::Handled,
        (false, true) => Standing::Behind,
        (false, false) => Standing::New,
    })
}

/// Marks messages as handled. Gives for each whether it is the first time; of equal ones the first is.
pub(super) async fn mark(
    names: &Names,
    connection: &mut PgConnection,
    marks: &[InboxMark],
) -> Result<Vec<bool>, StoreError> {
    let groups: Vec<&str> = marks.iter().map(|mark| mark.group.as_str()).collect();
    let handlers: Vec<&str> = marks.iter().map(|mark| mark.handler.as_str()).collect();
    let ids: Vec<Uuid> = marks.iter().map(|mark| mark.event_id).collect();
    let times: Vec<i64> = marks.iter().map(|mark| rows::micros(mark.at)).collect();
    let inserted: Vec<(String, String, Uuid)> =
        sqlx::query_as(names.sql(MARK)).bind(groups).bind(handlers).bind(ids).bind(times).fetch_all(connection).await?;
    let mut new: HashSet<(&str, &str, Uuid)> =
        inserted.iter().map(|(group, handler, id)| (group.as_str(), handler.as_str(), *id)).collect();
    Ok(marks.iter().map(|mark| new.remove(&(mark.group.as_str(), mark.handler.as_str(), mark.event_id))).collect())
}

/// Deletes marks older than `before`, a few at a time.
pub(super) async fn purge(names: &Names, pool: &PgPool, before: SystemTime) -> Result<u64, sqlx::Error> {
    let mut purged = 0;
    loop {
        let statement = sqlx::query(names.sql(PURGE)).bind(rows::micros(before)).bind(i64::from(PURGED_AT_ONCE));
        let count = statement.execute(pool).await?.rows_affected();
        purged += count;
        if count < u64::from(PURGED_AT_ONCE) {
            return Ok(purged);
        }
    }
}
