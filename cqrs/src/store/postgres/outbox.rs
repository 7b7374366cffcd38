//! Outbox rows: stored, claimed, settled.
//!
//! A claim reads rows of the shards that this process holds, and keeps in mind what it gave out; see `leases` and
//! [`Desk`](crate::store::desk::Desk). Settling deletes them, if the shards' fences still hold.

use std::time::SystemTime;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{PgConnection, PgPool, Postgres, Row};
use uuid::Uuid;

use super::{PostgresStore, rows};
use crate::BoxError;
use crate::lane::lane_of;
use crate::store::claiming::Request;
use crate::store::desk::Out;
use crate::store::found::{End, Found, PageRow, Place, Way};
use crate::store::names::Names;
use crate::store::shards::{SHARDS, shard_of};
use crate::store::{Claim, ClaimedOutbox, OutboxRecord, StoreError, StoreErrorKind};

/// How much further a claim looks each time that it has found too little, up to so many numbers.
const FURTHER: i64 = 8;
const FURTHEST: i64 = 20_000;

/// One row, as most commands raise: nine arrays of one cost the server 0.1 ms more.
const INSERT_ONE: &str = "
INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, due_at, shard)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)";

/// One statement, whatever the number of rows: its text stays the same, and so it stays prepared.
const INSERT: &str = "
INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, due_at, shard)
SELECT id, name, version, topic, message_key, payload, headers, raised_at, raised_at, shard
FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::bigint[], $9::smallint[])
    AS new (id, name, version, topic, message_key, payload, headers, raised_at, shard)";

/// Reads on behind a row, of some shards, what is ready and has nothing before it that waits; what is behind a dead row of its key, without
/// its payload, and everything without where that is asked for. However much waits for one row, it is not counted.
///
/// Whether anything is held is asked in the order of its index: the planner might hope to find such a row early in the table.
///
/// A row of a lower number may be there to be seen only now: its transaction was under way at the last look, or it has been made
/// ready again. It is found by that transaction, and reading begins before it.
///
/// Of a transaction that was under way the first row is asked for in the order of the index that begins with it: by equality alone the
/// planner might look for it from the first number on. What else it says of transactions beyond need keeps the estimate of its cost
/// low: above some estimate the server compiles a statement before it runs it, which takes longer than to read a page.
///
/// It reads no further than a number of numbers behind the first row: a planner that knows nothing of a table that has just been
/// filled takes all rows there are, and sorts them. Where it would go on is told, or where there is nothing to go on for, the last number.
///
/// What stands before a row is found once: `OFFSET` keeps it from being asked for again. That it may not be one of two states, and not
/// that it must be one of others, makes the planner expect that nearly every row is taken.
pub(super) const READ: &str = "
WITH late AS MATERIALIZED (
    SELECT MIN(seq) AS seq FROM (
        (SELECT seq FROM cqrs_outbox WHERE state = 'ready' AND seq <= $1 AND shard = ANY ($4)
            AND xact >= pg_snapshot_xmax($2::text::pg_snapshot)
            AND xact < pg_snapshot_xmax(pg_current_snapshot()))
        UNION ALL
        (SELECT first.seq FROM pg_snapshot_xip($2::text::pg_snapshot) AS open (xact)
            CROSS JOIN LATERAL (
                SELECT seq FROM cqrs_outbox AS mine WHERE mine.state = 'ready' AND mine.seq <= $1 AND mine.shard = ANY ($4)
                    AND mine.xact >= open.xact AND mine.xact <= open.xact
                ORDER BY mine.xact, mine.seq LIMIT 1
            ) AS first)
    ) AS unseen
), head AS MATERIALIZED (
    SELECT pg_current_snapshot()::text AS snapshot,
        LEAST($1, (SELECT seq - 1 FROM late)) AS start,
        EXISTS (SELECT 1 FROM cqrs_outbox WHERE state = 'waiting' AND due_at <= $5) AS is_due,
        (SELECT TRUE FROM cqrs_outbox WHERE message_key IS NOT NULL AND state <> 'ready'
            ORDER BY topic, message_key, seq LIMIT 1) IS NOT NULL AS is_held
), near AS MATERIALIZED (
    SELECT head.*, (SELECT MIN(seq) FROM cqrs_outbox WHERE state = 'ready' AND seq > head.start) + $6 AS until FROM head
), next AS MATERIALIZED (
    SELECT near.*, (SELECT MIN(seq) FROM cqrs_outbox WHERE state = 'ready' AND seq >= near.until) AS beyond FROM near
), part AS MATERIALIZED (
    SELECT next.*, CASE WHEN beyond IS NULL THEN
        (SELECT MAX(seq) FROM cqrs_outbox WHERE state = 'ready' AND seq > next.start) END AS newest FROM next
)
SELECT part.snapshot, part.start, part.is_due, part.beyond, part.newest, page.* FROM part LEFT JOIN LATERAL (
    SELECT found.seq, found.shard, found.attempts, found.blocked, found.id, found.name, found.version, found.topic,
        found.message_key, found.headers, found.raised_at,
        CASE WHEN found.blocked IS NULL AND NOT $7 THEN found.payload END AS payload
    FROM (
        SELECT mine.*, CASE WHEN part.is_held AND mine.message_key IS NOT NULL THEN (
            SELECT earlier.state FROM cqrs_outbox AS earlier
            WHERE earlier.topic = mine.topic AND earlier.message_key = mine.message_key
                AND earlier.seq < mine.seq AND earlier.state <> 'ready'
            ORDER BY earlier.seq LIMIT 1) END AS blocked
        FROM cqrs_outbox AS mine
        WHERE mine.state = 'ready' AND mine.seq > part.start AND mine.seq < part.until AND mine.shard = ANY ($4)
        ORDER BY mine.seq OFFSET 0
    ) AS found
    WHERE COALESCE(found.blocked, 'ready') NOT IN ('waiting', 'parked')
    ORDER BY found.seq LIMIT $3
) AS page ON TRUE
ORDER BY page.seq";

/// Wakes what waited until now, a thousand at a time.
const WAKE: &str = "
UPDATE cqrs_outbox SET state = 'ready', xact = pg_current_xact_id() WHERE seq = ANY (ARRAY(
    SELECT seq FROM cqrs_outbox WHERE state = 'waiting' AND due_at <= $1 ORDER BY due_at LIMIT 1000 FOR UPDATE SKIP LOCKED))";

/// Sets aside what a claim passed by because its key is dead: only somebody who replays or discards the dead row lets it go on, and
/// until then nobody need look at it. That row is locked for it: whoever takes it away sees what was parked behind it.
const PARK: &str = "
WITH front AS MATERIALIZED (
    SELECT dead.topic, dead.message_key, dead.seq
    FROM (SELECT DISTINCT topic, message_key FROM cqrs_outbox WHERE seq = ANY ($1)) AS lane
    CROSS JOIN LATERAL (
        SELECT topic, message_key, seq FROM cqrs_outbox AS earlier
        WHERE earlier.topic = lane.topic AND earlier.message_key = lane.message_key
            AND earlier.state <> 'ready' AND earlier.state = 'dead'
        ORDER BY earlier.seq LIMIT 1 FOR SHARE SKIP LOCKED
    ) AS dead
)
UPDATE cqrs_outbox AS mine SET state = 'parked' FROM front
WHERE mine.seq = ANY ($1) AND mine.state = 'ready' AND mine.topic = front.topic AND mine.message_key = front.message_key
    AND mine.seq > front.seq";

/// Frees what was parked of a key, now that a dead row of it has gone; behind another one it is parked again.
const FREE_KEY: &str = "
UPDATE cqrs_outbox SET state = 'ready', xact = pg_current_xact_id()
WHERE topic = $1 AND message_key = $2 AND state <> 'ready' AND state = 'parked'";

/// Frees rows that no dead one stands before. There are none, unless somebody has deleted rows by hand.
const FREE_STRANDED: &str = "
UPDATE cqrs_outbox AS mine SET state = 'ready', xact = pg_current_xact_id()
WHERE mine.state = 'parked' AND NOT EXISTS (
    SELECT 1 FROM cqrs_outbox AS earlier
    WHERE earlier.topic = mine.topic AND earlier.message_key = mine.message_key
        AND earlier.seq < mine.seq AND earlier.state <> 'ready' AND earlier.state = 'dead'
)";

/// When what waits is due, and ready rows that nothing stored stands in the way of, of shards that nobody else has: those are in good
/// hands, and who has no shard does not read the others' backlog. A hundred rows are looked at: what is free behind more than that, a claim
/// finds with the next poll. The number is written into the statement, or the planner would take it to be a tenth of the table.
const NEXT: &str = "
WITH open AS MATERIALIZED (
    SELECT $2::smallint[] || free.shards AS shards, cardinality(free.shards) > 0 AS is_free
    FROM (SELECT ARRAY(SELECT shard FROM cqrs_shards WHERE owner IS NULL) AS shards) AS free
)
SELECT NULL::bigint AS seq, (SELECT MIN(due_at) FROM cqrs_outbox WHERE state = 'waiting') AS due_at,
    NULL::text AS topic, NULL::text AS message_key, open.is_free
FROM open
UNION ALL
SELECT ready.*, open.is_free FROM open CROSS JOIN LATERAL (
    SELECT looked.* FROM (
        SELECT mine.seq, mine.due_at, mine.topic, mine.message_key FROM cqrs_outbox AS mine
        WHERE mine.state = 'ready' AND mine.seq <> ALL ($1)
            AND mine.shard = ANY (open.shards)
        ORDER BY mine.seq LIMIT 100
    ) AS looked
    WHERE looked.message_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM cqrs_outbox AS earlier
        WHERE earlier.topic = looked.topic AND earlier.message_key = looked.message_key
            AND earlier.seq < looked.seq AND earlier.state <> 'ready')
    ORDER BY looked.seq
) AS ready
WHERE cardinality(open.shards) > 0";

/// How many claims of a row may run out, with nothing heard of it in between, before it is a dead letter.
///
/// The row may be what ends its processes, and would do so for ever. But a process that is killed takes every row down
/// that it held, and most are innocent: so it is many more than a bad deployment restarts within one row's way to the
/// broker.
const MAX_LOST: i32 = 20;

/// What is noted on a row whose claim ran out.
const LOST: &str = "the process that held it stopped, or stalled for longer than its lease";

/// Counts a claim that ran out, or one that may be about to: it is an attempt, and once too often the row is dead.
const COUNT_LOST: &str = "
UPDATE cqrs_outbox
SET attempts = attempts + 1, lost = lost + 1, xact = pg_current_xact_id(),
    state = CASE WHEN lost + 1 >= $3 THEN 'dead' ELSE state END,
    error = CASE WHEN lost + 1 >= $3
        THEN $2 || ', ' || (lost + 1) || ' times in a row; publishing it may be what ends the process, so it is not tried again'
        ELSE $2 END
WHERE seq = ANY ($1) AND state = 'ready'
RETURNING seq, state";

const BURY_UNREADABLE: &str = "
UPDATE cqrs_outbox SET state = 'dead', attempts = attempts + 1, error = $2 WHERE seq = $1 AND state = 'ready'";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[INSERT_ONE, INSERT, READ, WAKE, PARK, FREE_KEY, FREE_STRANDED, NEXT, COUNT_LOST, BURY_UNREADABLE];

/// How long the topic and the key of an event may be together. What waits or is dead is found by them in an index, which takes no
/// longer entry: such a row could be published, but never be held back, and would hold up the relay for ever.
const LONGEST_KEY: usize = 2_000;

/// Stores rows, numbered in the order given.
pub(super) async fn insert(
    names: &Names,
    connection: &mut PgConnection,
    records: Vec<OutboxRecord>,
) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let mut columns = Columns::default();
    for record in records {
        columns.push(record)?;
    }
    let statement = if columns.ids.len() == 1 { columns.one(names) } else { columns.all(names) };
    statement.execute(connection).await?;
    Ok(())
}

type Statement<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    names: Vec<String>,
    versions: Vec<i32>,
    topics: Vec<String>,
    keys: Vec<Option<String>>,
    payloads: Vec<Vec<u8>>,
    headers: Vec<String>,
    raised: Vec<i64>,
    shards: Vec<i16>,
}

impl Columns {
    fn push(&mut self, record: OutboxRecord) -> Result<(), StoreError> {
        let length = record.key.as_ref().map_or(0, |key| record.topic.len() + key.len());
        if length > LONGEST_KEY {
            let what = format!(
                "the topic and the key of an event are {length} bytes, more than the {LONGEST_KEY} that PostgreSQL can keep in order; help: give the event a shorter key"
            );
            return Err(StoreError::new(StoreErrorKind::Database, what));
        }
        self.headers.push(rows::headers_text(&record.headers)?);
        self.shards.push(shard_of(&record.topic, record.key.as_deref(), record.id));
        self.ids.push(record.id);
        self.names.push(rows::escape(record.name));
        self.versions.push(rows::number(record.version));
        self.topics.push(rows::escape(record.topic));
        self.keys.push(record.key.map(rows::escape));
        self.payloads.push(record.payload);
        self.raised.push(rows::micros(record.raised_at));
        Ok(())
    }

    fn one(mut self, names: &Names) -> Statement<'_> {
        sqlx::query(names.sql(INSERT_ONE))
            .bind(self.ids.pop())
            .bind(self.names.pop())
            .bind(self.versions.pop())
            .bind(self.topics.pop())
            .bind(self.keys.pop().flatten())
            .bind(self.payloads.pop())
            .bind(self.headers.pop())
            .bind(self.raised.pop())
            .bind(self.shards.pop())
    }

    fn all(self, names: &Names) -> Statement<'_> {
        sqlx::query(names.sql(INSERT))
            .bind(self.ids)
            .bind(self.names)
            .bind(self.versions)
            .bind(self.topics)
            .bind(self.keys)
            .bind(self.payloads)
            .bind(self.headers)
            .bind(self.raised)
            .bind(self.shards)
    }
}

/// A row of [`NEXT`]. The one without a number is what waits.
#[derive(sqlx::FromRow)]
struct Next {
    seq: Option<i64>,
    due_at: Option<i64>,
    topic: Option<String>,
    message_key: Option<String>,
    /// Whether there are shards that nobody has.
    is_free: bool,
}

impl PostgresStore {
    /// One at a time: two that read side by side would find the same rows.
    pub(super) async fn take_outbox(&self, request: Request) -> Result<Vec<ClaimedOutbox>, StoreError> {
        if request.limit == 0 {
            return Ok(Vec::new());
        }
        let mut claimed = self.claiming.lock().await;
        self.take_back(request.lease_now).await?;
        self.tend(&request.granted()).await?;
        let open = self.desk().open();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let request = request.granted();
        let is_busy = self.under_way() > 0;
        let mut found = Found::new(&request, claimed.looking.until(&request, is_busy));
        let read = self.read(&request, &mut claimed.snapshot, &open, &mut found).await;
        self.desk().end_read();
        if let Err(error) = read {
            found.give_back(&mut self.desk());
            return Err(error);
        }
        if found.is_all {
            claimed.looking.got_to_the_end();
        }
        if found.rows.is_empty() && found.is_all && self.leases().is_time_to_start_over(request.lease_now) {
            self.desk().start_over();
        }
        self.see_to(found).await
    }

    async fn read(
        &self,
        request: &Request,
        snapshot: &mut Option<String>,
        open: &[i16],
        found: &mut Found,
    ) -> Result<(), StoreError> {
        let mut cursor = self.desk().begin_read();
        let most = found.asked.limit;
        // So many rows are found among half as many numbers, where each shard has as many, and some numbers none.
        let shares = i64::try_from(open.len()).unwrap_or(i64::MAX).max(1);
        let mut among = rows::limit(most).saturating_mul(2 * i64::from(SHARDS)) / shares;
        while found.reads_on() {
            let page = self.read_page(request.now, snapshot.as_deref(), (cursor, among), open, found).await?;
            let Some(first) = page.first() else { return Ok(()) };
            let seen = first.try_get("snapshot")?;
            found.last = first.try_get("start")?;
            let mut desk = self.desk();
            if found.look_through(&page, &mut desk)? == End::Last {
                // What is left among these numbers waits for something before it.
                let beyond: Option<i64> = first.try_get("beyond")?;
                let newest: Option<i64> = first.try_get("newest")?;
                found.is_all = beyond.is_none();
                found.last = beyond.map(|beyond| beyond - 1).or(newest).map_or(found.last, |last| last.max(found.last));
                among = among.saturating_mul(FURTHER).min(FURTHEST.max(among));
            }
            cursor = found.last;
            desk.read_to(cursor);
            *snapshot = Some(seen);
        }
        Ok(())
    }

    /// Reads behind a number, among so many numbers. What is due by now is made ready before.
    async fn read_page(
        &self,
        now: i64,
        snapshot: Option<&str>,
        (cursor, among): (i64, i64),
        open: &[i16],
        found: &Found,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut is_first = true;
        loop {
            let read = sqlx::query(self.names.sql(READ)).bind(cursor).bind(snapshot).bind(rows::limit(found.page()));
            let read = read.bind(open).bind(now).bind(among).bind(found.way == Way::Look);
            let page = read.fetch_all(&self.pool).await?;
            let is_due = page.first().map_or(Ok(false), |row| row.try_get("is_due"))?;
            if !is_due || !std::mem::take(&mut is_first) {
                return Ok(page);
            }
            sqlx::query(self.names.sql(WAKE)).bind(now).execute(&self.pool).await?;
        }
    }

    /// Does what has to be done about what a claim found, before it is given out.
    async fn see_to(&self, mut found: Found) -> Result<Vec<ClaimedOutbox>, StoreError> {
        let end = self.write_down(&mut found).await;
        if end.is_err() {
            found.give_back(&mut self.desk());
        }
        end.map(|()| found.rows)
    }

    async fn write_down(&self, found: &mut Found) -> Result<(), StoreError> {
        if !found.behind_dead.is_empty() {
            let parked = sqlx::query(self.names.sql(PARK)).bind(&found.behind_dead).execute(&self.pool).await?;
            if parked.rows_affected() < found.behind_dead.len() as u64 {
                // Somebody is about to take the dead row away, and does not see these.
                found.look_back(&mut self.desk());
            }
        }
        for (claim, error) in &found.unreadable {
            let bury =
                sqlx::query(self.names.sql(BURY_UNREADABLE)).bind(claim.seq).bind(rows::error_text(error.clone()));
            bury.execute(&self.pool).await?;
            let mut desk = self.desk();
            desk.ended(*claim);
            // What is behind it, is behind a dead one now.
            desk.look_back(claim.seq);
        }
        if found.suspicious.is_empty() {
            return Ok(());
        }
        let dead = self.count_lost(&self.pool, found.suspicious.clone()).await?;
        let mut desk = self.desk();
        for row in found.rows.extract_if(.., |row| dead.contains(&row.claim.seq)) {
            desk.ended(row.claim);
        }
        Ok(())
    }

    /// Counts claims that were lost, or may be. Gives those that are dead by now.
    async fn count_lost(
        &self,
        executor: impl sqlx::PgExecutor<'_>,
        numbers: Vec<i64>,
    ) -> Result<Vec<i64>, sqlx::Error> {
        let statement = sqlx::query_as(self.names.sql(COUNT_LOST)).bind(numbers).bind(LOST).bind(MAX_LOST);
        let counted: Vec<(i64, String)> = statement.fetch_all(executor).await?;
        let dead: Vec<i64> = counted.into_iter().filter(|(_, state)| state == "dead").map(|(seq, _)| seq).collect();
        for seq in &dead {
            tracing::error!(seq, "claims of an event ran out {MAX_LOST} times in a row: it is a dead letter");
        }
        Ok(dead)
    }

    /// Takes back what somebody of this process was given and has let run out: an attempt, as of a process that is gone.
    async fn take_back(&self, lease_now: i64) -> Result<(), StoreError> {
        let lost = self.desk().expired(lease_now);
        if lost.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        let fences = self.refence(&mut *tx, Out::shards(&lost)).await?;
        // What of it is in somebody else's shards by now, is his.
        let is_mine = |out: &&Out| fences.iter().any(|(shard, _)| *shard == out.shard);
        let numbers = lost.iter().filter(is_mine).map(|out| out.claim.seq).collect();
        self.count_lost(&mut *tx, numbers).await?;
        tx.commit().await?;
        self.moved(&lost, &fences);
        Ok(())
    }

    /// When something is due: what waits, or what is ready and not under way.
    pub(super) async fn next_event_due(&self) -> Result<Option<SystemTime>, StoreError> {
        let (under_way, open) = {
            let desk = self.desk();
            (desk.numbers(), desk.open())
        };
        let statement = sqlx::query_as::<_, Next>(self.names.sql(NEXT)).bind(under_way).bind(open);
        let mut rows = statement.fetch_all(&self.pool).await?;
        rows.sort_unstable_by_key(|row| row.seq);
        let Some((waiting, ready)) = rows.split_first() else { return Ok(None) };
        if waiting.is_free {
            self.leases().look_soon();
        }
        let desk = self.desk();
        let is_free = |row: &&Next| {
            let lane = row.topic.as_deref().and_then(|topic| lane_of(topic, row.message_key.as_deref()));
            lane.is_none_or(|lane| !desk.is_under_way(lane))
        };
        let ready = ready.iter().find(is_free).and_then(|row| row.due_at);
        Ok(waiting.due_at.into_iter().chain(ready).min().map(rows::time))
    }

    /// How many events this process is busy with.
    pub(super) fn under_way(&self) -> usize {
        self.desk().len()
    }
}

impl PageRow for PgRow {
    fn place(&self) -> Result<Option<Place>, sqlx::Error> {
        let Some(seq) = self.try_get("seq")? else { return Ok(None) };
        let lane = lane_of(self.try_get("topic")?, self.try_get("message_key")?);
        let is_behind_dead = self.try_get::<Option<&str>, _>("blocked")?.is_some();
        Ok(Some(Place { seq, shard: self.try_get("shard")?, lane, is_behind_dead }))
    }

    fn read(&self, claim: Claim) -> Result<ClaimedOutbox, BoxError> {
        read(self, claim)
    }
}

pub(super) async fn free_key(
    names: &Names,
    connection: &mut PgConnection,
    topic: String,
    key: Option<String>,
) -> Result<(), sqlx::Error> {
    let Some(key) = key else { return Ok(()) };
    sqlx::query(names.sql(FREE_KEY)).bind(topic).bind(key).execute(connection).await.map(drop)
}

pub(super) async fn free_stranded(names: &Names, pool: &PgPool) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(names.sql(FREE_STRANDED)).execute(pool).await?.rows_affected())
}

fn read(row: &PgRow, claim: Claim) -> Result<ClaimedOutbox, BoxError> {
    let record = OutboxRecord {
        id: row.try_get("id")?,
        name: rows::text_of(row, "name")?,
        version: rows::number_of(row, "version")?,
        topic: rows::text_of(row, "topic")?,
        key: rows::maybe_text_of(row, "message_key")?,
        payload: row.try_get("payload")?,
        headers: rows::headers_of(row)?,
        raised_at: rows::time_of(row, "raised_at")?,
    };
    Ok(ClaimedOutbox { claim, attempts: rows::number_of(row, "attempts")?, record })
}
