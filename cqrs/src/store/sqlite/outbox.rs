//! Outbox rows: stored, claimed, settled.

use std::time::SystemTime;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, SqlSafeStr, SqliteConnection, SqlitePool};

use super::{SqliteStore, rows};
use crate::BoxError;
use crate::store::claiming::Request;
use crate::store::{Claim, ClaimedOutbox, OutboxOutcome, OutboxRecord, StoreError};

const COLUMNS: usize = 9;

/// One row, which is what most units store: its text is fixed, since putting it together costs more than binding its
/// values.
const INSERT: &str = "
INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, due_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

const ANOTHER: &str = ", (?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Stores rows, numbered in the order given.
pub(super) async fn insert(connection: &mut SqliteConnection, records: Vec<OutboxRecord>) -> Result<(), StoreError> {
    for records in rows::chunks(records, rows::rows_per_statement(COLUMNS)) {
        let text = match records.len() {
            1 => INSERT.into_sql_str(),
            count => AssertSqlSafe(format!("{INSERT}{}", ANOTHER.repeat(count - 1))).into_sql_str(),
        };
        let mut statement = sqlx::query(text).persistent(rows::is_kept(records.len()));
        for record in records {
            let headers = rows::headers_text(&record.headers)?;
            let raised_at = rows::micros(record.raised_at);
            statement = statement
                .bind(rows::id_bytes(record.id))
                .bind(record.name)
                .bind(i64::from(record.version))
                .bind(record.topic)
                .bind(record.key)
                .bind(record.payload)
                .bind(headers)
                .bind(raised_at)
                .bind(raised_at);
        }
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

/// What stands before a ready row of its key: the state of the first row that is not ready itself.
macro_rules! before_mine {
    () => {
        "(SELECT earlier.state FROM cqrs_outbox AS earlier
          WHERE earlier.topic = mine.topic AND earlier.message_key = mine.message_key
            AND earlier.seq < mine.seq AND earlier.state <> 'ready'
          ORDER BY earlier.seq LIMIT 1)"
    };
}

/// Whether a claim would find something, to take or to park: asked without the write lock, so that an idle relay disturbs
/// no writer.
const ANYTHING: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM cqrs_outbox INDEXED BY cqrs_outbox_due WHERE state = 'waiting' AND due_at <= ?1)
    OR EXISTS (SELECT 1 FROM cqrs_outbox INDEXED BY cqrs_outbox_lease WHERE state = 'claimed' AND lease_until <= ?2)
    OR EXISTS (
        SELECT 1 FROM cqrs_outbox AS mine
        WHERE mine.state = 'ready' AND (mine.message_key IS NULL OR COALESCE(",
    before_mine!(),
    ", 'dead') = 'dead'))"
);

/// Sets aside what a claim passed by because its key is dead: only somebody who replays or discards the dead row lets it
/// go on, and until then nobody need look at it. What stands behind a row that is being published or waits is left alone:
/// it is about to go.
const PARK: &str = concat!(
    "UPDATE cqrs_outbox SET state = 'parked' WHERE seq IN (
        SELECT mine.seq FROM cqrs_outbox AS mine
        WHERE EXISTS (SELECT 1 FROM cqrs_outbox AS dead WHERE dead.state = 'dead')
          AND mine.state = 'ready' AND mine.seq < ? AND mine.message_key IS NOT NULL AND ",
    before_mine!(),
    " = 'dead')"
);

/// Frees what was parked of a key, now that a dead row of it has gone; behind another one it is parked again.
const FREE_KEY: &str = "
UPDATE cqrs_outbox SET state = 'ready'
WHERE topic = ? AND message_key = ? AND state <> 'ready' AND state = 'parked'";

/// Frees rows that no dead one stands before. There are none, unless somebody has deleted rows by hand.
const FREE_STRANDED: &str = "
UPDATE cqrs_outbox SET state = 'ready'
WHERE state = 'parked' AND NOT EXISTS (
    SELECT 1 FROM cqrs_outbox AS earlier
    WHERE earlier.topic = cqrs_outbox.topic AND earlier.message_key = cqrs_outbox.message_key
      AND earlier.seq < cqrs_outbox.seq AND earlier.state <> 'ready' AND earlier.state = 'dead'
)";

/// The soonest of: a ready row that nothing stands in the way of, a row that waits. A ready row behind a dead one does not
/// count: nobody could take it, and whoever waits for it would turn in circles.
pub(super) const NEXT_DUE: &str = "
SELECT MIN(at) FROM (
    SELECT MIN(due_at) AS at FROM cqrs_outbox INDEXED BY cqrs_outbox_due WHERE state = 'waiting'
    UNION ALL SELECT * FROM (
        SELECT mine.due_at FROM cqrs_outbox AS mine
        WHERE mine.state = 'ready' AND (mine.message_key IS NULL OR NOT EXISTS (
            SELECT 1 FROM cqrs_outbox AS earlier
            WHERE earlier.topic = mine.topic AND earlier.message_key = mine.message_key
              AND earlier.seq < mine.seq AND earlier.state <> 'ready'
        ))
        ORDER BY mine.seq LIMIT 1
    )
)";

/// Wakes what waited until now. By the index of due times, which SQLite would pass over for that of states: during an
/// outage of the broker very much waits, and little of it is due. A thousand at a time: nobody can write meanwhile.
const WAKE: &str = "
UPDATE cqrs_outbox SET state = 'ready' WHERE seq IN (
    SELECT seq FROM cqrs_outbox INDEXED BY cqrs_outbox_due WHERE state = 'waiting' AND due_at <= ?
    ORDER BY due_at LIMIT 1000)";

/// How many claims of a row may run out, with nothing heard of it in between, before it is a dead letter.
///
/// The row may be what ends its processes, and would do so for ever. But a process that is killed takes every row down
/// that it held, and most are innocent: so it is many more than a bad deployment restarts within one row's way to the
/// broker. It takes at least as many leases: with that of five seconds, more than a minute and a half.
const MAX_LOST: u32 = 20;

/// What is noted on a row whose claim ran out.
const LOST: &str = "the process that held it stopped, or stalled for longer than its lease";

/// Doubts an owner whose lease has run out, and gives it so much longer to say that it lives. There is one writer at a
/// time: while somebody wrote for long, the owner could not renew its lease, and nobody could look. Now that somebody looks,
/// the owner can write as well.
const DOUBT: &str = "
UPDATE cqrs_outbox INDEXED BY cqrs_outbox_lease SET doubted = 1, lease_until = ?2
WHERE state = 'claimed' AND lease_until <= ?1 AND doubted = 0";

/// Takes back what a process held that died or stalled, and was doubted. It counts as an attempt, and as a lost claim: those in a row, with
/// nothing heard of the row in between. What else becomes of a row starts that count anew (the broker answered: it does
/// not end the process), or leaves it as it is (it was handed back, untried).
const TAKE_BACK: &str = "
UPDATE cqrs_outbox INDEXED BY cqrs_outbox_lease
SET owner = NULL, lease_until = NULL, attempts = attempts + 1, lost = lost + 1,
    state = CASE WHEN lost + 1 >= ?3 THEN 'dead' ELSE 'ready' END,
    error = CASE WHEN lost + 1 >= ?3
        THEN ?2 || ', ' || (lost + 1) || ' times in a row; publishing it may be what ends the process, so it is not tried again'
        ELSE ?2 END
WHERE state = 'claimed' AND lease_until <= ?1 AND doubted = 1
RETURNING seq, state";

/// After waking and taking back, ready rows are all there is to take. Ready rows of a key that are earlier do not stand
/// in the way: they come first, so that a claim holds the beginning of what is left of its key, whatever the limit.
const CLAIM: &str = "
UPDATE cqrs_outbox SET state = 'claimed', fence = fence + 1, owner = ?1, lease_until = ?2, doubted = 0
WHERE seq IN (
    SELECT mine.seq FROM cqrs_outbox AS mine
    WHERE mine.state = 'ready' AND (mine.message_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM cqrs_outbox AS earlier
        WHERE earlier.topic = mine.topic AND earlier.message_key = mine.message_key
          AND earlier.seq < mine.seq AND earlier.state <> 'ready'
    ))
    ORDER BY mine.seq LIMIT ?3
)
RETURNING seq, fence, attempts, id, name, version, topic, message_key, payload, headers, raised_at";

const BURY: &str = "
UPDATE cqrs_outbox
SET state = 'dead', owner = NULL, lease_until = NULL, attempts = attempts + 1, lost = 0, error = ?
WHERE seq = ? AND fence = ? AND state = 'claimed'";

const RETRY: &str = "
UPDATE cqrs_outbox
SET state = 'waiting', due_at = ?, owner = NULL, lease_until = NULL, attempts = attempts + 1, lost = 0, error = ?
WHERE seq = ? AND fence = ? AND state = 'claimed'";

const HAND_BACK: &str = "
UPDATE cqrs_outbox SET state = 'ready', owner = NULL, lease_until = NULL
WHERE seq = ? AND fence = ? AND state = 'claimed'";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[ANYTHING, WAKE, TAKE_BACK, CLAIM, BURY, RETRY, HAND_BACK, NEXT_DUE, PARK, FREE_KEY, FREE_STRANDED, DOUBT];

impl SqliteStore {
    pub(super) async fn take_outbox(&self, request: Request) -> Result<Vec<ClaimedOutbox>, StoreError> {
        let anything =
            sqlx::query_scalar(ANYTHING).bind(request.now).bind(request.lease_now).fetch_one(&self.pool).await;
        if request.limit == 0 || !self.named(anything)? {
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        let claimed = self.named(claim(&mut tx, &request.granted()).await)?;
        tx.commit().await?;
        Ok(claimed)
    }

    pub(super) async fn end_outbox(&self, outcomes: Vec<(Claim, OutboxOutcome)>) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let settled = self.named(settle(&mut tx, outcomes).await)?;
        tx.commit().await?;
        Ok(settled)
    }
}

pub(super) async fn next_due(pool: &SqlitePool) -> Result<Option<SystemTime>, sqlx::Error> {
    let next: Option<i64> = sqlx::query_scalar(NEXT_DUE).fetch_one(pool).await?;
    Ok(next.map(rows::time))
}

pub(super) async fn claim(
    connection: &mut SqliteConnection,
    request: &Request,
) -> Result<Vec<ClaimedOutbox>, sqlx::Error> {
    sqlx::query(WAKE).bind(request.now).execute(&mut *connection).await?;
    take_back(&mut *connection, request.lease_now).await?;
    sqlx::query(DOUBT).bind(request.lease_now).bind(request.doubt_until()).execute(&mut *connection).await?;
    let found = sqlx::query(CLAIM)
        .bind(request.owner.as_str())
        .bind(request.lease_until)
        .bind(rows::limit(request.limit))
        .fetch_all(&mut *connection)
        .await?;
    // Short of the limit, it has passed by whatever it left.
    let mut numbers = found.iter().map(|row| row.try_get::<i64, _>("seq"));
    let last = if found.len() < request.limit {
        i64::MAX
    } else {
        numbers.try_fold(0, |last, seq| seq.map(|seq| last.max(seq)))?
    };
    sqlx::query(PARK).bind(last).execute(&mut *connection).await?;
    let mut claimed = Vec::with_capacity(found.len());
    let mut unreadable = Vec::new();
    for row in found {
        let claim = rows::claim(&row)?;
        match read(&row, claim) {
            Ok(row) => claimed.push(row),
            // One bad row must not hold up the others: it becomes a dead letter here and now.
            Err(error) => {
                let error = format!("the row cannot be read: {error}");
                sqlx::query(BURY).bind(error).bind(claim.seq).bind(claim.fence).execute(&mut *connection).await?;
                unreadable.push((claim.seq, lane_of(&row)));
            }
        }
    }
    // `RETURNING` promises no order.
    claimed.sort_unstable_by_key(|row| row.claim.seq);
    if unreadable.is_empty() {
        return Ok(claimed);
    }
    hand_back_behind(connection, claimed, &unreadable).await
}

pub(super) async fn free_key(
    connection: &mut SqliteConnection,
    topic: String,
    key: Option<String>,
) -> Result<(), sqlx::Error> {
    let Some(key) = key else { return Ok(()) };
    sqlx::query(FREE_KEY).bind(topic).bind(key).execute(connection).await.map(drop)
}

pub(super) async fn free_stranded(writer: &SqlitePool) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(FREE_STRANDED).execute(writer).await?.rows_affected())
}

async fn take_back(connection: &mut SqliteConnection, now: i64) -> Result<(), sqlx::Error> {
    let lost = sqlx::query(TAKE_BACK).bind(now).bind(LOST).bind(MAX_LOST).fetch_all(&mut *connection).await?;
    for row in lost {
        if row.try_get::<&str, _>("state")? == "dead" {
            let seq: i64 = row.try_get("seq")?;
            tracing::error!(seq, "claims of an event ran out {MAX_LOST} times in a row: it is a dead letter");
        }
    }
    Ok(())
}

/// Hands back rows of this claim whose key has an earlier row that turned out to be unreadable, and now is dead.
async fn hand_back_behind(
    connection: &mut SqliteConnection,
    claimed: Vec<ClaimedOutbox>,
    unreadable: &[(i64, Option<(String, String)>)],
) -> Result<Vec<ClaimedOutbox>, sqlx::Error> {
    let behind = |row: &ClaimedOutbox| {
        unreadable.iter().any(|(seq, lane)| match (lane, &row.record.key) {
            (Some((topic, key)), Some(own)) => *seq < row.claim.seq && *topic == row.record.topic && key == own,
            _ => false,
        })
    };
    let (back, kept): (Vec<_>, Vec<_>) = claimed.into_iter().partition(behind);
    for row in back {
        sqlx::query(HAND_BACK).bind(row.claim.seq).bind(row.claim.fence).execute(&mut *connection).await?;
    }
    Ok(kept)
}

/// The topic and key by which a row keeps order, where they at least can be read.
fn lane_of(row: &SqliteRow) -> Option<(String, String)> {
    Some((row.try_get("topic").ok()?, row.try_get::<Option<String>, _>("message_key").ok()??))
}

fn read(row: &SqliteRow, claim: Claim) -> Result<ClaimedOutbox, BoxError> {
    let record = OutboxRecord {
        id: rows::id_of(row, "id")?,
        name: row.try_get("name")?,
        version: rows::number_of(row, "version")?,
        topic: row.try_get("topic")?,
        key: row.try_get("message_key")?,
        payload: row.try_get("payload")?,
        headers: rows::headers_of(row)?,
        raised_at: rows::time_of(row, "raised_at")?,
    };
    Ok(ClaimedOutbox { claim, attempts: rows::number_of(row, "attempts")?, record })
}

async fn settle(connection: &mut SqliteConnection, outcomes: Vec<(Claim, OutboxOutcome)>) -> Result<u64, sqlx::Error> {
    let mut settled = 0;
    let mut published = Vec::with_capacity(outcomes.len());
    for (claim, outcome) in outcomes {
        let statement = match outcome {
            OutboxOutcome::Published => {
                published.push(claim);
                continue;
            }
            OutboxOutcome::Retry { due, error } => sqlx::query(RETRY).bind(rows::micros(due)).bind(error),
            OutboxOutcome::Dead { error } => sqlx::query(BURY).bind(error),
            OutboxOutcome::HandBack => sqlx::query(HAND_BACK),
        };
        let end = statement.bind(claim.seq).bind(claim.fence).execute(&mut *connection).await?;
        settled += end.rows_affected();
    }
    for claims in rows::chunks(published, rows::rows_per_statement(2)) {
        let mut statement = QueryBuilder::new("DELETE FROM cqrs_outbox WHERE ");
        rows::push_held(&mut statement, &claims);
        settled += rows::run(connection, statement, claims.len()).await?.rows_affected();
    }
    Ok(settled)
}

impl SqliteStore {
    /// Renews claims of outbox rows or of stored work.
    pub(super) async fn hold(
        &self,
        table: &'static str,
        claims: Vec<Claim>,
        lease_until: SystemTime,
    ) -> Result<Vec<Claim>, StoreError> {
        if claims.is_empty() {
            return Ok(claims);
        }
        let mut tx = self.write().await?;
        let held = self.named(rows::renew(&mut tx, table, claims, lease_until).await)?;
        tx.commit().await?;
        Ok(held)
    }
}
