//! Inbox marks.

use std::collections::HashSet;
use std::time::SystemTime;

use sqlx::{AssertSqlSafe, MySqlConnection, MySqlPool, Row};
use uuid::Uuid;

use super::{MySqlStore, rows};
use crate::store::names::Names;
use crate::store::{InboxMark, Standing, StoreError};

/// How many marks one statement deletes: so few that writers hardly wait.
const PURGED_AT_ONCE: u16 = 1_000;

const INSERT: &str = "
INSERT IGNORE INTO cqrs_inbox (handler_digest, event_id, consumer_group, handler, handled_at, token) VALUES ";

pub(super) const MINE: &str =
    "SELECT handler_digest, event_id FROM cqrs_inbox WHERE token = ? AND (handler_digest, event_id) IN ";

const PURGE: &str = "DELETE FROM cqrs_inbox WHERE handled_at < ? ORDER BY handled_at LIMIT ?";

const STANDING: &str = "
SELECT EXISTS (SELECT 1 FROM cqrs_inbox WHERE handler_digest = ? AND event_id = ?) AS handled,
    EXISTS (SELECT 1 FROM cqrs_work WHERE lane_digest = ?) AS behind";

/// One message, by its place in the list. One such part for each.
const ONE_STANDING: &str = "
SELECT CAST(? AS SIGNED) AS place,
    EXISTS (SELECT 1 FROM cqrs_inbox WHERE handler_digest = ? AND event_id = ?) AS handled,
    EXISTS (SELECT 1 FROM cqrs_work WHERE lane_digest = ?) AS behind";

/// How many messages one query asks about: longer ones take long to parse.
const ASKED_AT_ONCE: usize = 100;

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[PURGE, STANDING, ONE_STANDING];

/// Where a message stands. A plain read: it waits for nobody.
pub(super) async fn standing(
    pool: &MySqlPool,
    names: &Names,
    mark: InboxMark,
    lane: Option<String>,
) -> Result<Standing, sqlx::Error> {
    let row = sqlx::query(names.sql(STANDING))
        .bind(handler_of(&mark).to_vec())
        .bind(rows::id_bytes(mark.event_id))
        .bind(lane.map(|lane| rows::digest(&[&lane]).to_vec()))
        .fetch_one(pool)
        .await?;
    stands(&row)
}

/// Where several messages stand, each with a handler.
pub(super) async fn standings(
    pool: &MySqlPool,
    names: &Names,
    asked: Vec<(InboxMark, Option<String>)>,
) -> Result<Vec<Standing>, sqlx::Error> {
    let mut standings = vec![Standing::New; asked.len()];
    for (few, standings) in asked.chunks(ASKED_AT_ONCE).zip(standings.chunks_mut(ASKED_AT_ONCE)) {
        let text = vec![names.text(ONE_STANDING); few.len()].join("\nUNION ALL");
        let mut statement = sqlx::query(AssertSqlSafe(text)).persistent(rows::is_kept(few.len()));
        for ((mark, lane), place) in few.iter().zip(0_i64..) {
            statement = statement
                .bind(place)
                .bind(handler_of(mark).to_vec())
                .bind(rows::id_bytes(mark.event_id))
                .bind(lane.as_ref().map(|lane| rows::digest(&[lane]).to_vec()));
        }
        for row in statement.fetch_all(pool).await? {
            let place = usize::try_from(row.try_get::<i64, _>("place")?).unwrap_or(usize::MAX);
            if let Some(standing) = standings.get_mut(place) {
                *standing = stands(&row)?;
            }
        }
    }
    Ok(standings)
}

/// What it means that a message is marked, and that something stands in its lane.
fn stands(row: &sqlx::mysql::MySqlRow) -> Result<Standing, sqlx::Error> {
    Ok(match (row.try_get("handled")?, row.try_get("behind")?) {
        (true, _) => Standing::Handled,
        (false, true) => Standing::Behind,
        (false, false) => Standing::New,
    })
}

fn handler_of(mark: &InboxMark) -> [u8; 16] {
    rows::short(&[&mark.group, &mark.handler])
}

/// What tells a mark from others.
type Mark = ([u8; 16], Uuid);

/// Marks messages as handled. Gives for each whether it is the first time; of equal ones the first is.
///
/// A mark that another transaction has made and not committed is waited for. In the order of their digests, so that two
/// transactions with the same marks do not wait for one another.
pub(super) async fn mark(
    connection: &mut MySqlConnection,
    names: &Names,
    marks: Vec<InboxMark>,
) -> Result<Vec<bool>, StoreError> {
    let keys: Vec<Mark> = marks.iter().map(|mark| (handler_of(mark), mark.event_id)).collect();
    let mut ordered: Vec<(Mark, InboxMark)> = keys.iter().copied().zip(marks).collect();
    ordered.sort_by_key(|(key, _)| *key);
    let mut new = HashSet::with_capacity(keys.len());
    for few in rows::chunks(ordered, |(_, mark)| mark.group.len() + mark.handler.len()) {
        let (token, count) = (Uuid::new_v4(), few.len());
        let own: Vec<Mark> = few.iter().map(|(key, _)| *key).collect();
        let text = names.text(INSERT) + &rows::repeated("(?, ?, ?, ?, ?, ?)", count);
        let mut statement = sqlx::query(AssertSqlSafe(text)).persistent(rows::is_kept(count));
        for ((handler, event), mark) in few {
            statement = statement
                .bind(handler.to_vec())
                .bind(rows::id_bytes(event))
                .bind(mark.group.into_bytes())
                .bind(mark.handler.into_bytes())
                .bind(rows::micros(mark.at))
                .bind(rows::id_bytes(token));
        }
        match statement.execute(&mut *connection).await?.rows_affected() {
            0 => {}
            inserted if inserted == u64::try_from(count).unwrap_or(u64::MAX) => new.extend(own),
            _ => new.extend(inserted_by(connection, names, token, &own).await?),
        }
    }
    Ok(keys.iter().map(|key| new.remove(key)).collect())
}

/// The marks that a statement has made: its token is in them.
async fn inserted_by(
    connection: &mut MySqlConnection,
    names: &Names,
    token: Uuid,
    marks: &[Mark],
) -> Result<Vec<Mark>, sqlx::Error> {
    let text = format!("{}({})", names.text(MINE), rows::repeated("(?, ?)", marks.len()));
    let mut statement = sqlx::query(AssertSqlSafe(text)).persistent(rows::is_kept(marks.len()));
    statement = statement.bind(rows::id_bytes(token));
    for (handler, event) in marks {
        statement = statement.bind(handler.to_vec()).bind(rows::id_bytes(*event));
    }
    let of_row = |row: sqlx::mysql::MySqlRow| -> Result<Mark, sqlx::Error> {
        let mut handler = [0; 16];
        handler.copy_from_slice(&row.try_get::<Vec<u8>, _>("handler_digest")?);
        let event = rows::id_of(&row, "event_id").map_err(sqlx::Error::Decode)?;
        Ok((handler, event))
    };
    statement.fetch_all(connection).await?.into_iter().map(of_row).collect()
}

impl MySqlStore {
    /// Deletes marks older than `before`, a few at a time.
    pub(super) async fn purge_marks(&self, before: SystemTime) -> Result<u64, StoreError> {
        let mut purged = 0;
        loop {
            let mut tx = self.write().await?;
            let statement = sqlx::query(self.names.sql(PURGE)).bind(rows::micros(before)).bind(PURGED_AT_ONCE);
            let count = self.named(statement.execute(&mut *tx).await)?.rows_affected();
            self.named(tx.commit().await)?;
            purged += count;
            if count < u64::from(PURGED_AT_ONCE) {
                return Ok(purged);
            }
        }
    }
}
