//! Outbox rows: stored, claimed.
//!
//! A claim reads rows, and keeps in mind what it gave out; see `leases` and [`Desk`](crate::store::desk::Desk). `settle` deletes them, if
//! the lease is still this process's. There is one writer at a time: rows are committed in the order of their numbers.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqlSafeStr, SqliteConnection, SqlitePool};

use super::leases::ALL;
use super::{SqliteStore, rows};
use crate::BoxError;
use crate::lane::lane_of;
use crate::store::claiming::Request;
use crate::store::found::{End, Found, PageRow, Place, Way};
use crate::store::{Claim, ClaimedOutbox, OutboxRecord, StoreError};

/// Among how many numbers one statement looks for rows. Tests have few rows.
const AMONG: i64 = if cfg!(test) { 400 } else { 20_000 };

/// How often rows may be made ready again under a claim before it gives what it has.
const MOST_LOOKS: usize = 4;

/// How often a process that finds nothing, though there is something, reads everything once more.
const START_OVER_EVERY: i64 = 10_000_000;

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

/// Reads on behind a row what is ready, and has nothing before it but a dead one. In the same look: the last number there is, and whether
/// something has been made ready again. There is one row at least. Without payloads, where that is asked for.
pub(super) const READ: &str = concat!(
    "SELECT state.again, state.newest, state.near, page.* FROM
        (SELECT again, (SELECT MAX(seq) FROM cqrs_outbox) AS newest,
            (SELECT MIN(seq) FROM cqrs_outbox WHERE state = 'ready' AND seq > ?2) AS near
         FROM cqrs_relay WHERE one = 1) AS state
    LEFT JOIN (
        SELECT found.* FROM (
            SELECT mine.seq, mine.attempts, mine.id, mine.name, mine.version, mine.topic, mine.message_key,
                CASE WHEN ?1 THEN NULL ELSE mine.payload END AS payload, mine.headers, mine.raised_at,
                CASE WHEN mine.message_key IS NOT NULL
                    AND EXISTS (SELECT 1 FROM cqrs_outbox WHERE message_key IS NOT NULL AND state <> 'ready') THEN ",
    before_mine!(),
    " END AS blocked
            FROM cqrs_outbox AS mine WHERE mine.state = 'ready' AND mine.seq > ?2
                AND mine.seq < (SELECT MIN(seq) FROM cqrs_outbox WHERE state = 'ready' AND seq > ?2) + ?4
        ) AS found WHERE COALESCE(found.blocked, 'dead') = 'dead' ORDER BY found.seq LIMIT ?3
    ) AS page"
);

/// Sets aside what a claim passed by because its key is dead: only somebody who replays or discards the dead row lets it
/// go on, and until then nobody need look at it. What stands behind a row that waits is left alone: it is about to go.
const PARK: &str = concat!(
    "UPDATE cqrs_outbox SET state = 'parked' WHERE seq IN (
        SELECT mine.seq FROM json_each(?) AS passed CROSS JOIN cqrs_outbox AS mine ON mine.seq = passed.value
        WHERE mine.state = 'ready' AND ",
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

/// When what waits is due, and what is ready, that nothing stored stands in the way of, and that has not been read, or not since it was
/// made ready again: nothing where somebody else has the lease, with whom it is in good hands. A hundred rows are looked at.
pub(super) const NEXT: &str = "
SELECT MIN(due_at) AS due_at, NULL AS topic, NULL AS message_key
FROM cqrs_outbox INDEXED BY cqrs_outbox_due WHERE state = 'waiting'
UNION ALL
SELECT * FROM (
    SELECT page.due_at, page.topic, page.message_key FROM (
        SELECT seq, due_at, topic, message_key FROM cqrs_outbox
        WHERE state = 'ready' AND (SELECT owner IS NULL OR owner = ?2 FROM cqrs_relay WHERE one = 1)
            AND seq > (SELECT MIN(?1, COALESCE(again - 1, ?1)) FROM cqrs_relay WHERE one = 1)
        ORDER BY seq LIMIT 100
    ) AS page
    WHERE page.message_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM cqrs_outbox AS earlier
        WHERE earlier.topic = page.topic AND earlier.message_key = page.message_key
          AND earlier.seq < page.seq AND earlier.state <> 'ready')
    ORDER BY page.seq
)";

/// How many claims of a row may run out, with nothing heard of it in between, before it is a dead letter.
///
/// The row may be what ends its processes, and would do so for ever. But a process that is killed takes every row down
/// that it held, and most are innocent: so it is many more than a bad deployment restarts within one row's way to the
/// broker. It takes at least as many leases: with that of five seconds, more than a minute and a half.
const MAX_LOST: u32 = 20;

/// What is noted on a row whose claim ran out.
const LOST: &str = "the process that held it stopped, or stalled for longer than its lease";

/// Counts a claim that ran out, or one that may be about to: it is an attempt, and once too often the row is dead.
const COUNT_LOST: &str = "
UPDATE cqrs_outbox
SET attempts = attempts + 1, lost = lost + 1,
    state = CASE WHEN lost + 1 >= ?3 THEN 'dead' ELSE state END,
    error = CASE WHEN lost + 1 >= ?3
        THEN ?2 || ', ' || (lost + 1) || ' times in a row; publishing it may be what ends the process, so it is not tried again'
        ELSE ?2 END
WHERE seq IN (SELECT value FROM json_each(?1)) AND state = 'ready'
RETURNING seq, state";

const BURY_UNREADABLE: &str = "
UPDATE cqrs_outbox SET state = 'dead', attempts = attempts + 1, error = ? WHERE seq = ? AND state = 'ready'";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[READ, PARK, FREE_KEY, FREE_STRANDED, NEXT, COUNT_LOST, BURY_UNREADABLE];

/// What reading came to.
#[derive(PartialEq, Eq)]
enum Read {
    Enough,
    /// Something before it has been made ready again, and comes first.
    Again,
}

impl SqliteStore {
    /// One at a time: two that read side by side would find the same rows.
    pub(super) async fn take_outbox(&self, request: Request) -> Result<Vec<ClaimedOutbox>, StoreError> {
        if request.limit == 0 {
            return Ok(Vec::new());
        }
        let mut looking = self.claiming.lock().await;
        self.take_back(request.lease_now).await?;
        let until = looking.until(&request, self.busy() > 0);
        let mut found = Found::new(&request.granted(), until);
        for _ in 0..MOST_LOOKS {
            let tended = self.tend(&request).await;
            // It may have waited for somebody who wrote.
            found.asked.lease_until = request.granted().lease_until;
            let read = match tended {
                Ok(()) if self.desk().held(ALL).is_none() => break,
                Ok(()) => self.read(&mut found).await,
                Err(error) => Err(error),
            };
            self.desk().end_read();
            match read {
                Ok(Read::Again) => {}
                Ok(Read::Enough) => break,
                Err(error) => {
                    found.give_back(&mut self.desk());
                    return Err(error);
                }
            }
        }
        if found.is_all {
            looking.got_to_the_end();
        }
        let is_empty = found.rows.is_empty() && found.is_all && self.desk().len() == 0;
        if is_empty && self.is_time_to_start_over(request.lease_now) {
            self.desk().start_over();
        }
        self.see_to(found, &request).await
    }

    async fn read(&self, found: &mut Found) -> Result<Read, StoreError> {
        let mut cursor = self.desk().begin_read();
        found.way = Way::Take;
        while found.reads_on() {
            let is_bare = found.way == Way::Look;
            let read = sqlx::query(READ).bind(is_bare).bind(cursor).bind(rows::limit(found.page())).bind(AMONG);
            let page = self.named(read.fetch_all(&self.pool).await)?;
            let Some(first) = page.first() else { break };
            if self.named(first.try_get::<Option<i64>, _>("again"))?.is_some() {
                return Ok(Read::Again);
            }
            found.last = cursor;
            let mut desk = self.desk();
            if self.named(found.look_through(&page, &mut desk))? == End::Last {
                // What is between, waits for something that comes before it.
                let newest = self.named(first.try_get::<Option<i64>, _>("newest"))?.unwrap_or(0);
                let near = self.named(first.try_get::<Option<i64>, _>("near"))?;
                let end = near.map(|near| near + AMONG - 1).filter(|end| *end < newest);
                found.is_all = end.is_none();
                found.last = found.last.max(end.unwrap_or(newest));
            }
            cursor = found.last;
            desk.read_to(cursor);
        }
        Ok(Read::Enough)
    }

    /// Whether everything is to be read once more: there should be nothing that was not seen, but somebody may have changed rows by hand.
    fn is_time_to_start_over(&self, now: i64) -> bool {
        let last = self.started_over.load(Ordering::Relaxed);
        let is_time = now < last || now - last >= START_OVER_EVERY;
        if is_time {
            self.started_over.store(now, Ordering::Relaxed);
        }
        is_time
    }

    /// Does what has to be done about what a claim found, before it is given out.
    async fn see_to(&self, mut found: Found, request: &Request) -> Result<Vec<ClaimedOutbox>, StoreError> {
        if found.behind_dead.is_empty() && found.unreadable.is_empty() && found.suspicious.is_empty() {
            return Ok(found.rows);
        }
        let written = self.write_down(&found).await;
        let lease_until = request.granted().lease_until;
        let mut desk = self.desk();
        match written {
            Ok((parked, dead)) => {
                if parked < found.behind_dead.len() as u64 {
                    // Somebody has taken the dead row away meanwhile, and did not see these.
                    found.look_back(&mut desk);
                }
                found.given().for_each(|claim| desk.renew(claim, lease_until));
                for (claim, _) in &found.unreadable {
                    desk.ended(*claim);
                    // What is behind it, is behind a dead one now.
                    desk.look_back(claim.seq);
                }
                for row in found.rows.extract_if(.., |row| dead.contains(&row.claim.seq)) {
                    desk.ended(row.claim);
                }
                Ok(found.rows)
            }
            Err(error) => {
                found.give_back(&mut desk);
                Err(error)
            }
        }
    }

    /// Gives how many were parked, and those that are dead since they have ended too many processes.
    async fn write_down(&self, found: &Found) -> Result<(u64, Vec<i64>), StoreError> {
        let mut tx = self.write().await?;
        let mut parked = 0;
        if !found.behind_dead.is_empty() {
            let park = sqlx::query(PARK).bind(rows::list(&found.behind_dead));
            parked = self.named(park.execute(&mut *tx).await)?.rows_affected();
        }
        for (claim, error) in &found.unreadable {
            let bury = sqlx::query(BURY_UNREADABLE).bind(error.as_str()).bind(claim.seq);
            self.named(bury.execute(&mut *tx).await)?;
        }
        let dead = match found.suspicious.as_slice() {
            [] => Vec::new(),
            suspicious => self.named(count_lost(&mut tx, suspicious).await)?,
        };
        tx.commit().await?;
        Ok((parked, dead))
    }

    /// Takes back what somebody of this process was given and has let run out: an attempt, as of a process that is gone.
    async fn take_back(&self, lease_now: i64) -> Result<(), StoreError> {
        if self.desk().expired(lease_now).is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        // Who was only waiting for those who write, may have been heard of meanwhile.
        let lost = self.desk().expired(lease_now);
        let fence = self.refence(&mut tx).await?;
        if fence.is_some() {
            let numbers: Vec<i64> = lost.iter().map(|out| out.claim.seq).collect();
            self.named(count_lost(&mut tx, &numbers).await)?;
        }
        tx.commit().await?;
        self.moved(&lost, fence);
        Ok(())
    }

    /// When something is due: what waits, or what is ready and has not been given out.
    pub(super) async fn next_event_due(&self) -> Result<Option<SystemTime>, StoreError> {
        let cursor = {
            let desk = self.desk();
            desk.held(ALL).map_or(0, |_| desk.cursor())
        };
        let due = self.named(next_due(&self.pool, cursor, &self.me).await)?;
        let Some((first, ready)) = due.split_first() else { return Ok(None) };
        let desk = self.desk();
        let is_free = |row: &&Next| {
            let lane = row.topic.as_deref().and_then(|topic| lane_of(topic, row.message_key.as_deref()));
            lane.is_none_or(|lane| !desk.is_under_way(lane))
        };
        let ready = ready.iter().find(is_free).and_then(|row| row.due_at);
        Ok(first.due_at.into_iter().chain(ready).min().map(rows::time))
    }

    /// How many rows this process is busy with.
    pub(super) fn busy(&self) -> usize {
        self.desk().len()
    }

    /// Which those are.
    pub(super) fn under_way(&self) -> Vec<i64> {
        self.desk().numbers()
    }
}

impl PageRow for SqliteRow {
    fn place(&self) -> Result<Option<Place>, sqlx::Error> {
        let Some(seq) = self.try_get("seq")? else { return Ok(None) };
        // What cannot even be read is a row without key: it is given out, and found out when it is read.
        let topic: &str = self.try_get("topic").unwrap_or_default();
        let lane = lane_of(topic, self.try_get("message_key").unwrap_or_default());
        // What waits for another row is not read.
        let is_behind_dead = self.try_get::<Option<&str>, _>("blocked")?.is_some();
        Ok(Some(Place { seq, shard: ALL, lane, is_behind_dead }))
    }

    fn read(&self, claim: Claim) -> Result<ClaimedOutbox, BoxError> {
        read(self, claim)
    }
}

/// A row of [`NEXT`]. The first one is what waits.
#[derive(sqlx::FromRow)]
struct Next {
    due_at: Option<i64>,
    topic: Option<String>,
    message_key: Option<String>,
}

async fn next_due(pool: &SqlitePool, cursor: i64, me: &str) -> Result<Vec<Next>, sqlx::Error> {
    sqlx::query_as(NEXT).bind(cursor).bind(me).fetch_all(pool).await
}

/// Counts claims that were lost, or may be. Gives those that are dead by now.
async fn count_lost(connection: &mut SqliteConnection, numbers: &[i64]) -> Result<Vec<i64>, sqlx::Error> {
    let count = sqlx::query_as(COUNT_LOST).bind(rows::list(numbers)).bind(LOST).bind(MAX_LOST);
    let counted: Vec<(i64, String)> = count.fetch_all(connection).await?;
    let dead: Vec<i64> = counted.into_iter().filter(|(_, state)| state == "dead").map(|(seq, _)| seq).collect();
    for seq in &dead {
        tracing::error!(seq, "claims of an event ran out {MAX_LOST} times in a row: it is a dead letter");
    }
    Ok(dead)
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
