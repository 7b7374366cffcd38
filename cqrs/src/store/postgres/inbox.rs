//! Inbox marks.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Each is looked for by itself: for an `EXISTS` that is asked for many rows the planner may read the whole table into a hash.
///
/// In a subquery of its own an array is of unknown length to the planner. Otherwise a plan made for the arrays at hand always looks
/// cheaper than one for any, and the server plans each call anew, which takes longer than to run it.
const STANDINGS: &str = "
SELECT (SELECT TRUE FROM cqrs_inbox AS known WHERE known.consumer_group = asked.consumer_group AND known.handler = asked.handler
        AND known.event_id = asked.event_id LIMIT 1) IS NOT NULL,
    (SELECT TRUE FROM cqrs_work AS earlier WHERE earlier.lane = asked.lane LIMIT 1) IS NOT NULL
FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::uuid[]), (SELECT $4::text[])) WITH ORDINALITY
    AS asked (consumer_group, handler, event_id, lane, place)
ORDER BY place";

/// After so many messages, and whenever they are twice as many again, the statements that ask for marks are planned anew: the server
/// keeps a plan until it has counted the table, a minute or more, and the plan of an empty one reads it from end to end.
const FIRST_AGE: u64 = 500;
/// From then on a plan stays good.
const LAST_AGE: u32 = 16;

/// How many messages this process has asked about.
#[derive(Debug, Default)]
pub(super) struct Grown(AtomicU64);

impl Grown {
    /// How often the table may have doubled, before so many more.
    fn age(&self, more: usize) -> u32 {
        let so_far = self.0.fetch_add(more as u64, Ordering::Relaxed);
        (so_far / FIRST_AGE).checked_ilog2().map_or(0, |doubled| (doubled + 1).min(LAST_AGE))
    }
}

/// Waits for whoever has stored the same mark and not committed it.
const MARK: &str = "
INSERT INTO cqrs_inbox (consumer_group, handler, event_id, handled_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[]) AS mark (g, h, e, t) ORDER BY g, h, e
ON CONFLICT DO NOTHING RETURNING consumer_group, handler, event_id";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[PURGE, STANDING, STANDINGS, MARK];

/// Where a message stands.
pub(super) async fn standing(
    names: &Names,
    so_far: &Grown,
    pool: &PgPool,
    mark: InboxMark,
    lane: Option<String>,
) -> Result<Standing, sqlx::Error> {
    let sql = names.sql_of_age(STANDING, so_far.age(1));
    let statement = sqlx::query_as(sql).bind(mark.group).bind(mark.handler).bind(mark.event_id);
    Ok(stands(statement.bind(lane.map(rows::escape)).fetch_one(pool).await?))
}

/// Where several messages stand, each with a handler.
pub(super) async fn standings(
    names: &Names,
    so_far: &Grown,
    pool: &PgPool,
    asked: Vec<(InboxMark, Option<String>)>,
) -> Result<Vec<Standing>, sqlx::Error> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let (mut groups, mut handlers, mut ids, mut lanes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (mark, lane) in asked {
        groups.push(mark.group);
        handlers.push(mark.handler);
        ids.push(mark.event_id);
        lanes.push(lane.map(rows::escape));
    }
    let sql = names.sql_of_age(STANDINGS, so_far.age(ids.len()));
    let statement = sqlx::query_as(sql).bind(groups).bind(handlers).bind(ids).bind(lanes);
    Ok(statement.fetch_all(pool).await?.into_iter().map(stands).collect())
}

/// What it means that a message is marked, and that something stands in its lane.
fn stands((is_marked, is_behind): (bool, bool)) -> Standing {
    match (is_marked, is_behind) {
        (true, _) => Standing::Handled,
        (false, true) => Standing::Behind,
        (false, false) => Standing::New,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_planned_anew_whenever_the_marks_have_doubled() {
        let asked = Grown::default();
        let ages: Vec<u32> = [499, 1, 499, 1, 999, 1, 1, 40_000_000, 1].iter().map(|more| asked.age(*more)).collect();
        assert_eq!(ages, [0, 0, 1, 1, 2, 2, 3, 3, LAST_AGE]);
    }
}
