//! Stored work: stored and ended. `claim` hands it out.

use std::time::SystemTime;

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};
use uuid::Uuid;

use super::fault::Tries;
use super::{MySqlStore, rows, timer};
use crate::BoxError;
use crate::store::claiming::first_state;
use crate::store::names::Names;
use crate::store::{Claim, StoreError, WorkKind, WorkRecord};

const INSERT: &str = "
INSERT INTO cqrs_work (id, kind, handler, consumer_group, queue, name, version, topic, message_key, lane, lane_digest,
    timer_key, timer_digest, timer_slot, payload, headers, created_at, state, due_at, attempts, error)
VALUES ";

const ONE: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Stores work, numbered in the order given. A timer takes the place of one with the same name and key that is not
/// claimed. Gives the timers that did, each by the id it came with and the id it has.
pub(super) async fn insert(
    connection: &mut MySqlConnection,
    names: &Names,
    records: Vec<WorkRecord>,
) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
    let (records, mut moved) = timer::replace(connection, names, records).await?;
    let (timers, records): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| timer::slot_of(record).is_some());
    for records in rows::chunks(records, bytes_of) {
        insert_some(connection, names, records, "").await?;
    }
    for (own, kept) in timer::insert(connection, names, timers).await? {
        moved.iter_mut().filter(|(_, id)| *id == own).for_each(|(_, id)| *id = kept);
        moved.push((own, kept));
    }
    Ok(moved)
}

pub(super) fn bytes_of(record: &WorkRecord) -> usize {
    record.payload.len() + record.error.as_ref().map_or(0, String::len) + 1_024
}

/// Stores work in one statement, with an end of its own. Gives the number of rows affected.
pub(super) async fn insert_some(
    connection: &mut MySqlConnection,
    names: &Names,
    records: Vec<WorkRecord>,
    end: &str,
) -> Result<u64, StoreError> {
    let count = records.len();
    let text = format!("{}{}{end}", names.text(INSERT), rows::repeated(ONE, count));
    let mut statement = sqlx::query(AssertSqlSafe(text)).persistent(rows::is_kept(count));
    for record in records {
        let (queue, slot) = (rows::queue(&record.queue()).to_vec(), timer::slot_of(&record));
        let (digest, state) = (timer::digest_of(&record), first_state(&record));
        let (lane, headers) = (record.lane.as_deref().map(lane_digest), rows::headers_bytes(&record.headers)?);
        statement = statement
            .bind(rows::id_bytes(record.id))
            .bind(record.kind.as_str())
            .bind(record.handler.into_bytes())
            .bind(record.group.into_bytes())
            .bind(queue)
            .bind(record.name.into_bytes())
            .bind(i64::from(record.version))
            .bind(record.topic.into_bytes())
            .bind(record.key.map(String::into_bytes))
            .bind(record.lane.map(String::into_bytes))
            .bind(lane)
            .bind(record.timer_key.map(String::into_bytes))
            .bind(digest)
            .bind(slot)
            .bind(record.payload)
            .bind(headers)
            .bind(rows::micros(record.created_at))
            .bind(state)
            .bind(rows::micros(record.due_at))
            .bind(i64::from(record.attempts))
            .bind(record.error.map(String::into_bytes));
    }
    Ok(statement.execute(connection).await?.rows_affected())
}

pub(super) fn lane_digest(lane: &str) -> Vec<u8> {
    rows::digest(&[lane]).to_vec()
}

const RETRY: &str = "
UPDATE cqrs_work
SET state = 'waiting', due_at = ?, owner = NULL, lease_until = NULL, attempts = attempts + 1, error = ?,
    deferred_since = NULL
WHERE seq = ? AND fence = ? AND state = 'claimed'";

const DEFER: &str = "
UPDATE cqrs_work
SET state = 'waiting', deferred_since = COALESCE(deferred_since, ?), due_at = ?, error = ?,
    owner = NULL, lease_until = NULL
WHERE seq = ? AND fence = ? AND state = 'claimed'";

const BURY: &str = "
UPDATE cqrs_work
SET state = 'dead', owner = NULL, lease_until = NULL, attempts = attempts + 1, error = ?
WHERE seq = ? AND fence = ? AND state = 'claimed'";

/// Takes buried work out of its lane.
const LEAVE_LANE: &str = "UPDATE cqrs_work SET lane = NULL, lane_digest = NULL WHERE seq = ?";

const LANE: &str = "SELECT lane_digest FROM cqrs_work WHERE seq = ?";

/// Locks the row that is to go, and tells its lane: a row behind it is parked only by whoever holds this lock.
const MINE: &str = "
SELECT lane_digest FROM cqrs_work WHERE seq = ? AND fence = ? AND state = 'claimed' FOR UPDATE";

const FINISH: &str = "DELETE FROM cqrs_work WHERE seq = ?";

/// The first row of a lane that is parked, now that an earlier one has gone. Another one may be before it: then it is parked again.
/// By a plain read: one that locks would be held up by rows that are not committed, and one that passes by what is locked would
/// pass by a row that somebody else's search has touched.
const NEXT: &str = "SELECT seq FROM cqrs_work WHERE lane_digest = ? AND state = 'parked' ORDER BY seq LIMIT 1";

/// Frees a row. In the transaction in which the one before it goes, always: in between nobody would ever look at it.
const FREE: &str = "UPDATE cqrs_work SET state = 'ready' WHERE seq = ? AND state = 'parked'";

/// Frees rows that nothing stands before. There are none, unless somebody has deleted rows by hand.
const STRANDED: &str = "
SELECT mine.seq FROM cqrs_work AS mine
WHERE mine.state = 'parked' AND NOT EXISTS (
    SELECT 1 FROM cqrs_work AS earlier WHERE earlier.lane_digest = mine.lane_digest AND earlier.seq < mine.seq
)";

const LANE_IS_HELD: &str = "SELECT EXISTS (SELECT 1 FROM cqrs_work WHERE lane_digest = ?)";

pub(super) const HOLD: &str =
    "UPDATE cqrs_work FORCE INDEX (PRIMARY) SET lease_until = ? WHERE state = 'claimed' AND (";

pub(super) const HELD: &str = "SELECT seq, fence FROM cqrs_work FORCE INDEX (PRIMARY) WHERE state = 'claimed' AND (";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[RETRY, DEFER, BURY, LEAVE_LANE, LANE, MINE, FINISH, NEXT, FREE, STRANDED, LANE_IS_HELD];

impl MySqlStore {
    /// Buries work. Its lane is forgotten where the lane is to go on: a replay later comes outside of the order anyway.
    pub(super) async fn end_dead(&self, claim: Claim, error: String, skip_lane: bool) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let buried = self.named(bury(&mut tx, &self.names, claim, error, skip_lane).await)?;
        self.named(tx.commit().await)?;
        Ok(buried)
    }

    pub(super) async fn retry(&self, claim: Claim, due: SystemTime, error: String) -> Result<bool, StoreError> {
        let statement = sqlx::query(self.names.sql(RETRY)).bind(rows::micros(due)).bind(error.into_bytes());
        self.named(end(&self.pool, statement, claim).await)
    }

    pub(super) async fn defer(
        &self,
        claim: Claim,
        now: SystemTime,
        due: SystemTime,
        error: String,
    ) -> Result<bool, StoreError> {
        let statement = sqlx::query(self.names.sql(DEFER)).bind(rows::micros(now)).bind(rows::micros(due));
        self.named(end(&self.pool, statement.bind(error.into_bytes()), claim).await)
    }

    /// Renews claims. In the order of their numbers, as everybody locks rows.
    pub(super) async fn hold_work(&self, mut claims: Vec<Claim>, until: SystemTime) -> Result<Vec<Claim>, StoreError> {
        claims.sort_unstable_by_key(|claim| claim.seq);
        let mut held = Vec::with_capacity(claims.len());
        for claims in rows::chunks(claims, |_| 16) {
            held.extend(self.named(self.hold_some(&claims, until).await)?);
        }
        Ok(held)
    }

    async fn hold_some(&self, claims: &[Claim], until: SystemTime) -> Result<Vec<Claim>, sqlx::Error> {
        let condition = rows::claimed_marks(claims.len());
        let text = format!("{}{condition})", self.names.text(HOLD));
        let mut tries = Tries::default();
        let held = loop {
            let mut statement = sqlx::query(AssertSqlSafe(text.as_str())).bind(rows::micros(until));
            for claim in rows::padded(claims) {
                statement = statement.bind(claim.seq).bind(claim.fence);
            }
            let held = statement.execute(&self.pool).await;
            if !tries.again(&held) {
                break held?.rows_affected();
            }
        };
        if held == u64::try_from(claims.len()).unwrap_or(u64::MAX) {
            return Ok(claims.to_vec());
        }
        let text = format!("{}{condition})", self.names.text(HELD));
        let mut statement = sqlx::query(AssertSqlSafe(text));
        for claim in rows::padded(claims) {
            statement = statement.bind(claim.seq).bind(claim.fence);
        }
        statement.fetch_all(&self.pool).await?.iter().map(rows::claim).collect()
    }

    pub(super) async fn free_stranded_work(&self) -> Result<u64, StoreError> {
        let stranded = sqlx::query_scalar(self.names.sql(STRANDED)).fetch_all(&self.pool);
        let stranded: Vec<i64> = self.named(stranded.await)?;
        let mut freed = 0;
        for seq in stranded {
            let statement = sqlx::query(self.names.sql(FREE)).bind(seq);
            freed += self.named(statement.execute(&self.pool).await)?.rows_affected();
        }
        Ok(freed)
    }
}

/// Frees the next row of a lane, whose earlier one has just gone.
pub(super) async fn free_next(
    connection: &mut MySqlConnection,
    names: &Names,
    lane: Option<Vec<u8>>,
) -> Result<(), sqlx::Error> {
    let Some(lane) = lane else { return Ok(()) };
    let next: Option<i64> = sqlx::query_scalar(names.sql(NEXT)).bind(lane).fetch_optional(&mut *connection).await?;
    if let Some(next) = next {
        sqlx::query(names.sql(FREE)).bind(next).execute(connection).await?;
    }
    Ok(())
}

type Statement = sqlx::query::Query<'static, sqlx::MySql, sqlx::mysql::MySqlArguments>;

/// Runs a statement that ends a claim. `false` where the fence has moved on.
async fn end<'c>(
    executor: impl sqlx::MySqlExecutor<'c>,
    statement: Statement,
    claim: Claim,
) -> Result<bool, sqlx::Error> {
    let end = statement.bind(claim.seq).bind(claim.fence).execute(executor).await?;
    Ok(end.rows_affected() == 1)
}

pub(super) async fn bury(
    connection: &mut MySqlConnection,
    names: &Names,
    claim: Claim,
    error: String,
    skip_lane: bool,
) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query(names.sql(BURY)).bind(error.into_bytes());
    let buried = end(&mut *connection, statement, claim).await?;
    if buried && skip_lane {
        let lane = sqlx::query_scalar(names.sql(LANE)).bind(claim.seq).fetch_one(&mut *connection).await?;
        sqlx::query(names.sql(LEAVE_LANE)).bind(claim.seq).execute(&mut *connection).await?;
        free_next(connection, names, lane).await?;
    }
    Ok(buried)
}

pub(super) async fn finish(connection: &mut MySqlConnection, names: &Names, claim: Claim) -> Result<bool, sqlx::Error> {
    let mine = sqlx::query_scalar(names.sql(MINE)).bind(claim.seq).bind(claim.fence);
    let Some(lane) = mine.fetch_optional(&mut *connection).await? else { return Ok(false) };
    sqlx::query(names.sql(FINISH)).bind(claim.seq).execute(&mut *connection).await?;
    free_next(connection, names, lane).await?;
    Ok(true)
}

/// Whether a lane has any work. Work that is ready counts: it is earlier than what is stored now.
pub(super) async fn lane_is_held(
    connection: &mut MySqlConnection,
    names: &Names,
    lane: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(names.sql(LANE_IS_HELD)).bind(lane_digest(lane)).fetch_one(connection).await
}

pub(super) fn read(row: &MySqlRow) -> Result<(WorkRecord, Option<SystemTime>), BoxError> {
    let kind: &str = row.try_get("kind")?;
    let deferred_since: Option<i64> = row.try_get("deferred_since")?;
    let record = WorkRecord {
        id: rows::id_of(row, "id")?,
        kind: WorkKind::from_stored(kind).ok_or_else(|| format!("no kind of work is called `{kind}`"))?,
        handler: rows::text_of(row, "handler")?,
        group: rows::text_of(row, "consumer_group")?,
        name: rows::text_of(row, "name")?,
        version: rows::number_of(row, "version")?,
        topic: rows::text_of(row, "topic")?,
        key: rows::some_text_of(row, "message_key")?,
        lane: rows::some_text_of(row, "lane")?,
        timer_key: rows::some_text_of(row, "timer_key")?,
        payload: row.try_get("payload")?,
        headers: rows::headers_of(row)?,
        created_at: rows::time_of(row, "created_at")?,
        due_at: rows::time_of(row, "due_at")?,
        attempts: rows::number_of(row, "attempts")?,
        error: rows::some_text_of(row, "error")?,
        dead: false,
    };
    Ok((record, deferred_since.map(rows::time)))
}
