//! Inbox marks.

use std::collections::HashSet;
use std::time::SystemTime;

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};

use super::rows;
use crate::store::{InboxMark, Standing, StoreError};

const COLUMNS: usize = 4;

/// How many messages one query asks about.
const ASKED_AT_ONCE: usize = rows::rows_per_statement(COLUMNS + 1);

/// How many marks one statement deletes: so few that writers hardly wait.
const PURGED_AT_ONCE: u16 = 1_000;

const PURGE: &str = "
DELETE FROM cqrs_inbox WHERE (consumer_group, handler, event_id) IN (
    SELECT consumer_group, handler, event_id FROM cqrs_inbox WHERE handled_at < ? LIMIT ?
)";

const STANDING: &str = "
SELECT EXISTS (SELECT 1 FROM cqrs_inbox WHERE consumer_group = ? AND handler = ? AND event_id = ?),
    EXISTS (SELECT 1 FROM cqrs_work WHERE lane = ?)";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[PURGE, STANDING];

/// Where a message stands. It asks a reader: whoever writes for long keeps nobody from looking.
pub(super) async fn standing(
    pool: &SqlitePool,
    mark: InboxMark,
    lane: Option<String>,
) -> Result<Standing, sqlx::Error> {
    let statement = sqlx::query_as(STANDING).bind(mark.group).bind(mark.handler).bind(rows::id_bytes(mark.event_id));
    Ok(match statement.bind(lane).fetch_one(pool).await? {
        (true, _) => Standing::Handled,
        (false, true) => Standing::Behind,
        (false, false) => Standing::New,
    })
}

/// Where several messages stand, each with a handler.
pub(super) async fn standings(
    pool: &SqlitePool,
    asked: Vec<(InboxMark, Option<String>)>,
) -> Result<Vec<Standing>, sqlx::Error> {
    let mut standings = vec![Standing::New; asked.len()];
    for (chunk, standings) in asked.chunks(ASKED_AT_ONCE).zip(standings.chunks_mut(ASKED_AT_ONCE)) {
        let mut statement = standings_of(chunk);
        let found = statement.build_query_as::<(i64, bool, bool)>().persistent(rows::is_kept(chunk.len()));
        for (at, handled, held) in found.fetch_all(pool).await? {
            let Some(standing) = usize::try_from(at).ok().and_then(|at| standings.get_mut(at)) else { continue };
            *standing = if handled {
                Standing::Handled
            } else if held {
                Standing::Behind
            } else {
                Standing::New
            };
        }
    }
    Ok(standings)
}

/// Each with its number in the list: rows come in no order that anybody promises.
pub(super) fn standings_of(asked: &[(InboxMark, Option<String>)]) -> QueryBuilder<Sqlite> {
    let mut statement = QueryBuilder::new("WITH asked (number, consumer_group, handler, event_id, lane) AS (");
    statement.push_values(asked.iter().zip(0_i64..), |mut row, ((mark, lane), number)| {
        row.push_bind(number)
            .push_bind(mark.group.as_str())
            .push_bind(mark.handler.as_str())
            .push_bind(rows::id_bytes(mark.event_id))
            .push_bind(lane.as_deref());
    });
    statement.push(
        ") SELECT number, EXISTS (SELECT 1 FROM cqrs_inbox AS known WHERE known.consumer_group = asked.consumer_group
            AND known.handler = asked.handler AND known.event_id = asked.event_id),
        EXISTS (SELECT 1 FROM cqrs_work AS earlier WHERE earlier.lane = asked.lane) FROM asked",
    );
    statement
}

/// Marks messages as handled. Gives for each whether it is the first time; of equal ones the first is.
pub(super) async fn mark(connection: &mut SqliteConnection, marks: &[InboxMark]) -> Result<Vec<bool>, StoreError> {
    let mut first = Vec::with_capacity(marks.len());
    for marks in marks.chunks(rows::rows_per_statement(COLUMNS)) {
        let mut statement =
            QueryBuilder::new("INSERT INTO cqrs_inbox (consumer_group, handler, event_id, handled_at) ");
        statement.push_values(marks, |mut row, mark| {
            row.push_bind(mark.group.as_str())
                .push_bind(mark.handler.as_str())
                .push_bind(rows::id_bytes(mark.event_id))
                .push_bind(rows::micros(mark.at));
        });
        statement.push(" ON CONFLICT DO NOTHING RETURNING consumer_group, handler, event_id");
        let inserted = rows::fetch(connection, statement, marks.len()).await?;
        let mut new = HashSet::with_capacity(inserted.len());
        for row in &inserted {
            let (group, handler): (&str, &str) = (row.try_get("consumer_group")?, row.try_get("handler")?);
            let id: &[u8] = row.try_get("event_id")?;
            new.insert((group, handler, id));
        }
        first.extend(marks.iter().map(|mark| {
            new.remove(&(mark.group.as_str(), mark.handler.as_str(), mark.event_id.as_bytes().as_slice()))
        }));
    }
    Ok(first)
}

/// Deletes marks older than `before`, a few at a time.
pub(super) async fn purge(writer: &SqlitePool, before: SystemTime) -> Result<u64, sqlx::Error> {
    let mut purged = 0;
    loop {
        let statement = sqlx::query(PURGE).bind(rows::micros(before)).bind(i64::from(PURGED_AT_ONCE));
        let count = statement.execute(writer).await?.rows_affected();
        purged += count;
        if count < u64::from(PURGED_AT_ONCE) {
            return Ok(purged);
        }
    }
}
