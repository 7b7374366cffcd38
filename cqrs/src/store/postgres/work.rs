//! Stored work: stored, claimed, ended.

use std::time::SystemTime;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::rows::Queues;
use super::{PostgresStore, rows, timer};
use crate::BoxError;
use crate::store::claiming::{self, MOST_LOOKED_AT, Request, first_state};
use crate::store::names::Names;
use crate::store::{Claim, ClaimedWork, StoreError, WorkKind, WorkRecord};

/// One statement, whatever the number of rows: its text stays the same, and so it stays prepared.
const INSERT: &str = "
INSERT INTO cqrs_work (id, kind, handler, consumer_group, name, version, topic, message_key, lane, timer_key, payload,
    headers, created_at, state, due_at, attempts, error)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::bytea[], $12::text[], $13::bigint[], $14::text[], $15::bigint[], $16::int[], $17::text[])";

#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    kinds: Vec<&'static str>,
    handlers: Vec<String>,
    groups: Vec<String>,
    names: Vec<String>,
    versions: Vec<i32>,
    topics: Vec<String>,
    keys: Vec<Option<String>>,
    lanes: Vec<Option<String>>,
    timer_keys: Vec<Option<String>>,
    payloads: Vec<Vec<u8>>,
    headers: Vec<String>,
    created: Vec<i64>,
    states: Vec<&'static str>,
    due: Vec<i64>,
    attempts: Vec<i32>,
    errors: Vec<Option<String>>,
}

impl Columns {
    fn push(&mut self, record: WorkRecord) -> Result<(), StoreError> {
        self.states.push(first_state(&record));
        self.headers.push(rows::headers_text(&record.headers)?);
        self.ids.push(record.id);
        self.kinds.push(record.kind.as_str());
        self.handlers.push(record.handler);
        self.groups.push(record.group);
        self.names.push(rows::escape(record.name));
        self.versions.push(rows::number(record.version));
        self.topics.push(rows::escape(record.topic));
        self.keys.push(record.key.map(rows::escape));
        self.lanes.push(record.lane.map(rows::escape));
        self.timer_keys.push(record.timer_key.map(rows::escape));
        self.payloads.push(record.payload);
        self.created.push(rows::micros(record.created_at));
        self.due.push(rows::micros(record.due_at));
        self.attempts.push(rows::number(record.attempts));
        self.errors.push(record.error.map(rows::error_text));
        Ok(())
    }
}

/// Stores work, numbered in the order given. A timer takes the place of one with the same name and key that is not
/// claimed. Gives the timers that did, each by the id it came with and the id it has.
pub(super) async fn insert(
    names: &Names,
    connection: &mut PgConnection,
    records: Vec<WorkRecord>,
) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let (records, moved) = timer::replace(names, connection, records).await?;
    let mut columns = Columns::default();
    for record in records {
        columns.push(record)?;
    }
    sqlx::query(names.sql(INSERT))
        .bind(columns.ids)
        .bind(columns.kinds)
        .bind(columns.handlers)
        .bind(columns.groups)
        .bind(columns.names)
        .bind(columns.versions)
        .bind(columns.topics)
        .bind(columns.keys)
        .bind(columns.lanes)
        .bind(columns.timer_keys)
        .bind(columns.payloads)
        .bind(columns.headers)
        .bind(columns.created)
        .bind(columns.states)
        .bind(columns.due)
        .bind(columns.attempts)
        .bind(columns.errors)
        .execute(connection)
        .await?;
    Ok(moved)
}

/// The queues that were asked for, each with its place in the list.
macro_rules! wanted {
    () => {
        "unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS wanted (kind, consumer_group, handler, place)"
    };
}

/// The rows of one of the queues that were asked for.
macro_rules! of_wanted {
    () => {
        "mine.kind = wanted.kind AND mine.consumer_group = wanted.consumer_group AND mine.handler = wanted.handler"
    };
}

/// Whether a claim would find something: asked outside of a transaction, so that an idle worker locks nothing.
const ANYTHING: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM ",
    wanted!(),
    " WHERE EXISTS (SELECT 1 FROM cqrs_work AS mine WHERE state = 'waiting' AND ",
    of_wanted!(),
    " AND due_at <= $4)
        OR EXISTS (SELECT 1 FROM cqrs_work AS mine WHERE state = 'claimed' AND ",
    of_wanted!(),
    " AND lease_until <= $5)
        OR EXISTS (SELECT 1 FROM cqrs_work AS mine WHERE state = 'ready' AND ",
    of_wanted!(),
    "))"
);

/// Whether a row stands behind another one of its lane, and whether somebody does one of its lane: the oldest row of a lane may have
/// been committed later than one that is claimed.
macro_rules! is_behind {
    () => {
        "EXISTS (SELECT 1 FROM cqrs_work AS earlier WHERE earlier.lane = mine.lane AND earlier.seq < mine.seq)"
    };
}
macro_rules! is_busy {
    () => {
        "EXISTS (SELECT 1 FROM cqrs_work AS busy WHERE busy.lane = mine.lane AND busy.state = 'claimed')"
    };
}

/// The soonest of: a ready row that may be taken, a row that waits.
const NEXT_DUE: &str = concat!(
    "SELECT MIN(at) FROM (
        SELECT (SELECT MIN(due_at) FROM cqrs_work AS mine WHERE state = 'waiting' AND ",
    of_wanted!(),
    ") AS at FROM ",
    wanted!(),
    " UNION ALL
        SELECT (SELECT due_at FROM cqrs_work AS mine WHERE state = 'ready' AND ",
    of_wanted!(),
    " AND (lane IS NULL OR NOT (",
    is_behind!(),
    " OR ",
    is_busy!(),
    ")) ORDER BY seq LIMIT 1) FROM ",
    wanted!(),
    ") AS next"
);

/// Wakes what waited until now, but timers: a thousand of each queue at a time, since after a time in which nothing ran there may be a
/// million. What somebody else has just locked is his to see to.
const WAKE: &str = concat!(
    "UPDATE cqrs_work SET state = 'ready' WHERE seq = ANY (ARRAY(
        SELECT found.seq FROM ",
    wanted!(),
    " CROSS JOIN LATERAL (
            SELECT seq FROM cqrs_work AS mine WHERE wanted.kind <> 'timer' AND state = 'waiting' AND ",
    of_wanted!(),
    " AND due_at <= $4 ORDER BY due_at LIMIT 1000 FOR UPDATE SKIP LOCKED) AS found))"
);

/// Takes back what a process held that died or stalled. It counts as an attempt: otherwise a message that kills its process would
/// be tried for ever.
const TAKE_BACK: &str = concat!(
    "UPDATE cqrs_work
    SET state = 'ready', owner = NULL, lease_until = NULL, attempts = attempts + 1,
        error = 'the process that held it stopped, or stalled for longer than its lease'
    WHERE seq = ANY (ARRAY(
        SELECT found.seq FROM ",
    wanted!(),
    " CROSS JOIN LATERAL (
            SELECT seq FROM cqrs_work AS mine WHERE state = 'claimed' AND ",
    of_wanted!(),
    " AND lease_until <= $4 ORDER BY lease_until LIMIT 1000 FOR UPDATE SKIP LOCKED) AS found))"
);

/// After waking and taking back, ready rows are all there is to take, and timers that wait no longer, the most overdue first; of a lane,
/// its oldest row or none. They are locked: two claims at a time find different ones.
const FIND: &str = concat!(
    "SELECT mine.seq, wanted.place, mine.lane, mine.lane IS NOT NULL AND ",
    is_behind!(),
    " AS behind, mine.lane IS NOT NULL AND ",
    is_busy!(),
    " AS busy, mine.until FROM ",
    wanted!(),
    " CROSS JOIN LATERAL (
        SELECT * FROM (SELECT seq, lane, NULL::bigint AS until FROM cqrs_work AS mine WHERE state = 'ready' AND ",
    of_wanted!(),
    " ORDER BY seq LIMIT $4 FOR UPDATE SKIP LOCKED) AS ready
        UNION ALL
        SELECT * FROM (SELECT seq, lane, due_at FROM cqrs_work AS mine WHERE wanted.kind = 'timer' AND state = 'waiting' AND ",
    of_wanted!(),
    " AND due_at <= $5 ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED) AS overdue) AS mine"
);

/// Sets rows aside that stand behind others of their lane: claims do not look at them again until they are freed. A row in front is
/// locked for it, so that it is not taken away by somebody who does not see yet that another is being parked behind it; where it is
/// locked already, it may be on its way out, and what is behind it is left alone.
const PARK: &str = "
WITH behind AS (
    SELECT mine.seq FROM unnest($1::bigint[], $2::text[]) AS mine (seq, lane)
    CROSS JOIN LATERAL (
        SELECT seq FROM cqrs_work AS front WHERE front.lane = mine.lane ORDER BY seq LIMIT 1 FOR SHARE SKIP LOCKED
    ) AS front
    WHERE front.seq < mine.seq
)
UPDATE cqrs_work SET state = 'parked' WHERE seq = ANY (ARRAY(SELECT seq FROM behind)) AND state = 'ready'";

/// Frees the row that a lane begins with, now that an earlier one has gone. In the same transaction, always: in between
/// nobody would ever look at it.
const FREE_NEXT: &str = "
UPDATE cqrs_work SET state = 'ready'
WHERE seq = (SELECT MIN(seq) FROM cqrs_work WHERE lane = $1) AND state = 'parked'";

/// Frees rows that nothing stands before. There are none, unless somebody has deleted rows by hand. Each is the first of its lane: a
/// question that its index answers, where `NOT EXISTS` would read the whole table.
pub(super) const FREE_STRANDED: &str = "
UPDATE cqrs_work AS mine SET state = 'ready'
WHERE mine.state = 'parked' AND (mine.lane IS NULL
    OR mine.seq = (SELECT MIN(earlier.seq) FROM cqrs_work AS earlier WHERE earlier.lane = mine.lane))";

const CLAIM: &str = "
UPDATE cqrs_work SET state = 'claimed', fence = fence + 1, owner = $1, lease_until = $2
WHERE seq = ANY ($3)
RETURNING seq, fence, id, kind, handler, consumer_group, name, version, topic, message_key, lane, timer_key, payload,
    headers, created_at, due_at, attempts, error, deferred_since";

const RENEW: &str = "
UPDATE cqrs_work AS mine SET lease_until = $1
FROM unnest($2::bigint[], $3::bigint[]) AS held (seq, fence)
WHERE mine.seq = held.seq AND mine.fence = held.fence AND mine.state = 'claimed'
RETURNING mine.seq, mine.fence";

const RETRY: &str = "
UPDATE cqrs_work
SET state = 'waiting', due_at = $3, owner = NULL, lease_until = NULL, attempts = attempts + 1, error = $4,
    deferred_since = NULL
WHERE seq = $1 AND fence = $2 AND state = 'claimed'";

const DEFER: &str = "
UPDATE cqrs_work
SET state = 'waiting', deferred_since = COALESCE(deferred_since, $3), due_at = $4, error = $5,
    owner = NULL, lease_until = NULL
WHERE seq = $1 AND fence = $2 AND state = 'claimed'";

const BURY: &str = "
UPDATE cqrs_work
SET state = 'dead', owner = NULL, lease_until = NULL, attempts = attempts + 1, error = $3
WHERE seq = $1 AND fence = $2 AND state = 'claimed'
RETURNING lane";

/// Takes buried work out of its lane.
const LEAVE_LANE: &str = "UPDATE cqrs_work SET lane = NULL WHERE seq = $1";

const FINISH: &str = "DELETE FROM cqrs_work WHERE seq = $1 AND fence = $2 AND state = 'claimed' RETURNING lane";

const LANE_IS_HELD: &str = "SELECT EXISTS (SELECT 1 FROM cqrs_work WHERE lane = $1)";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    ANYTHING,
    NEXT_DUE,
    WAKE,
    TAKE_BACK,
    FIND,
    PARK,
    FREE_NEXT,
    FREE_STRANDED,
    CLAIM,
    RENEW,
    RETRY,
    DEFER,
    BURY,
    LEAVE_LANE,
    FINISH,
    LANE_IS_HELD,
];

/// Binds the queues a statement begins with.
macro_rules! for_queues {
    ($names:expr, $statement:expr, $queues:expr) => {
        sqlx::query($names.sql($statement)).bind(&$queues.kinds).bind(&$queues.groups).bind(&$queues.handlers)
    };
}

/// A row that a claim has found.
struct Found {
    seq: i64,
    /// Until when it waited, if it is a timer that did.
    until: Option<i64>,
    /// Its queue's place in the list.
    place: i64,
    lane: Option<String>,
    /// It stands behind others of its lane, and is parked.
    is_behind: bool,
    /// Something of its lane is being done: it is passed by.
    is_busy: bool,
}

/// How a claim stands.
struct Claiming<'a> {
    names: &'a Names,
    wanted: &'a Wanted<'a>,
    request: Request,
    limits: Vec<usize>,
    limit: usize,
    claimed: Vec<ClaimedWork>,
}

type Wanted<'a> = claiming::Wanted<'a, Queues>;

impl PostgresStore {
    pub(super) async fn take_work(&self, wanted: Wanted<'_>, request: Request) -> Result<Vec<ClaimedWork>, StoreError> {
        let anything = for_queues!(self.names, ANYTHING, wanted.queues).bind(request.now).bind(request.lease_now);
        if request.limit == 0 || !anything.fetch_one(&self.pool).await?.try_get::<bool, _>(0)? {
            return Ok(Vec::new());
        }
        loop {
            let mut tx = self.write().await?;
            let (names, limits, limit) = (&*self.names, wanted.limits(), request.limit);
            let request = request.granted();
            let claiming = Claiming { names, wanted: &wanted, request, limits, limit, claimed: Vec::new() };
            let (claimed, all_parked) = claiming.run(&mut tx).await?;
            tx.commit().await?;
            if !claimed.is_empty() || !all_parked {
                return Ok(claimed);
            }
        }
    }

    /// Buries work. Its lane is forgotten where the lane is to go on: a replay later comes outside of the order anyway.
    pub(super) async fn end_dead(&self, claim: Claim, error: String, skip_lane: bool) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let buried = bury(&self.names, &mut tx, claim, error, skip_lane).await?;
        tx.commit().await?;
        Ok(buried)
    }

    pub(super) async fn hold_work(
        &self,
        claims: Vec<Claim>,
        lease_until: SystemTime,
    ) -> Result<Vec<Claim>, StoreError> {
        if claims.is_empty() {
            return Ok(claims);
        }
        let (numbers, fences) = rows::lists(&claims);
        let statement = sqlx::query(self.names.sql(RENEW)).bind(rows::micros(lease_until)).bind(numbers).bind(fences);
        let held = statement.fetch_all(&self.pool).await?;
        Ok(held.iter().map(rows::claim).collect::<Result<_, _>>()?)
    }
}

impl Claiming<'_> {
    /// Claims what is free. Whether it looked at as much as one claim may, parked some of what it found, and left the rest.
    async fn run(mut self, connection: &mut PgConnection) -> Result<(Vec<ClaimedWork>, bool), StoreError> {
        let queues = &self.wanted.queues;
        for_queues!(self.names, WAKE, queues).bind(self.request.now).execute(&mut *connection).await?;
        for_queues!(self.names, TAKE_BACK, queues).bind(self.request.lease_now).execute(&mut *connection).await?;
        let mut at_once = self.limits.iter().copied().max().unwrap_or(0).min(self.limit);
        let mut has_parked = false;
        loop {
            let (hidden, parked) = self.round(connection, at_once).await?;
            has_parked |= parked > 0;
            // Only what was parked or passed by can have hidden rows further back that there is room for.
            let done = self.limit == 0 || hidden.iter().all(|share| self.limits[*share] == 0);
            if done || at_once >= MOST_LOOKED_AT {
                // `RETURNING` promises no order.
                claiming::put_in_order(&mut self.claimed);
                return Ok((self.claimed, !done && has_parked));
            }
            at_once = at_once.saturating_mul(8).min(MOST_LOOKED_AT);
        }
    }

    /// Looks at so many rows of each queue, whose places PostgreSQL counts from one. Gives the shares of those that were parked or
    /// passed by, and how many were parked.
    async fn round(&mut self, connection: &mut PgConnection, at_once: usize) -> Result<(Vec<usize>, u64), StoreError> {
        let (mut behind, mut lanes, mut free, mut hidden) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in self.find(connection, at_once).await? {
            let Some(share) = self.wanted.share(row.place - 1) else { continue };
            if row.is_behind {
                behind.push(row.seq);
                lanes.push(row.lane);
                hidden.push(share);
            } else if row.is_busy {
                hidden.push(share);
            } else if self.limits[share] > 0 && self.limit > 0 {
                free.push(row.seq);
                self.limits[share] -= 1;
                self.limit -= 1;
            }
        }
        let mut parked = 0;
        if !behind.is_empty() {
            let park = sqlx::query(self.names.sql(PARK)).bind(behind).bind(lanes).execute(&mut *connection).await?;
            parked = park.rows_affected();
        }
        self.take(connection, free).await?;
        Ok((hidden, parked))
    }

    /// What may be taken first of each queue, so much of each.
    async fn find(&self, connection: &mut PgConnection, at_once: usize) -> Result<Vec<Found>, sqlx::Error> {
        let found = for_queues!(self.names, FIND, self.wanted.queues).bind(rows::limit(at_once));
        let found = found.bind(self.request.now);
        let mut rows = Vec::new();
        for row in found.fetch_all(connection).await? {
            let (seq, place, lane) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let (is_behind, is_busy, until) = (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
            rows.push(Found { seq, until, place, lane, is_behind, is_busy });
        }
        rows.sort_unstable_by_key(|row| (row.until, row.seq, row.place));
        rows.dedup_by_key(|row| row.seq);
        Ok(rows)
    }

    /// Claims rows by their numbers.
    async fn take(&mut self, connection: &mut PgConnection, numbers: Vec<i64>) -> Result<(), StoreError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let claim = sqlx::query(self.names.sql(CLAIM)).bind(self.request.owner.as_str());
        let claim = claim.bind(self.request.lease_until).bind(numbers);
        for row in claim.fetch_all(&mut *connection).await? {
            let claim = rows::claim(&row)?;
            match read(&row) {
                Ok((record, deferred_since)) => self.claimed.push(ClaimedWork { claim, record, deferred_since }),
                // One bad row must not hold up the others: it becomes a dead letter here and now.
                Err(error) => {
                    let error = format!("the row cannot be read: {error}");
                    bury(self.names, &mut *connection, claim, error, false).await?;
                }
            }
        }
        Ok(())
    }
}

pub(super) async fn next_due(names: &Names, pool: &PgPool, queues: Queues) -> Result<Option<SystemTime>, sqlx::Error> {
    let next: Option<i64> = for_queues!(names, NEXT_DUE, queues).fetch_one(pool).await?.try_get(0)?;
    Ok(next.map(rows::time))
}

/// Frees the next row of a lane, whose earlier one has just gone.
pub(super) async fn free_next(
    names: &Names,
    connection: &mut PgConnection,
    lane: Option<String>,
) -> Result<(), sqlx::Error> {
    let Some(lane) = lane else { return Ok(()) };
    sqlx::query(names.sql(FREE_NEXT)).bind(lane).execute(connection).await.map(drop)
}

pub(super) async fn free_stranded(names: &Names, pool: &PgPool) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(names.sql(FREE_STRANDED)).execute(pool).await?.rows_affected())
}

fn read(row: &PgRow) -> Result<(WorkRecord, Option<SystemTime>), BoxError> {
    let kind: &str = row.try_get("kind")?;
    let deferred_since: Option<i64> = row.try_get("deferred_since")?;
    let record = WorkRecord {
        id: row.try_get("id")?,
        kind: WorkKind::from_stored(kind).ok_or_else(|| format!("no kind of work is called `{kind}`"))?,
        handler: row.try_get("handler")?,
        group: row.try_get("consumer_group")?,
        name: rows::text_of(row, "name")?,
        version: rows::number_of(row, "version")?,
        topic: rows::text_of(row, "topic")?,
        key: rows::maybe_text_of(row, "message_key")?,
        lane: rows::maybe_text_of(row, "lane")?,
        timer_key: rows::maybe_text_of(row, "timer_key")?,
        payload: row.try_get("payload")?,
        headers: rows::headers_of(row)?,
        created_at: rows::time_of(row, "created_at")?,
        due_at: rows::time_of(row, "due_at")?,
        attempts: rows::number_of(row, "attempts")?,
        error: row.try_get("error")?,
        dead: false,
    };
    Ok((record, deferred_since.map(rows::time)))
}

pub(super) async fn retry(
    names: &Names,
    pool: &PgPool,
    claim: Claim,
    due: SystemTime,
    error: String,
) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query(names.sql(RETRY)).bind(claim.seq).bind(claim.fence);
    Ok(statement.bind(rows::micros(due)).bind(rows::error_text(error)).execute(pool).await?.rows_affected() == 1)
}

pub(super) async fn defer(
    names: &Names,
    pool: &PgPool,
    claim: Claim,
    now: SystemTime,
    due: SystemTime,
    error: String,
) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query(names.sql(DEFER)).bind(claim.seq).bind(claim.fence).bind(rows::micros(now));
    Ok(statement.bind(rows::micros(due)).bind(rows::error_text(error)).execute(pool).await?.rows_affected() == 1)
}

async fn bury(
    names: &Names,
    connection: &mut PgConnection,
    claim: Claim,
    error: String,
    skip_lane: bool,
) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query_scalar(names.sql(BURY)).bind(claim.seq).bind(claim.fence).bind(rows::error_text(error));
    let buried: Option<Option<String>> = statement.fetch_optional(&mut *connection).await?;
    let Some(lane) = buried else { return Ok(false) };
    if skip_lane {
        sqlx::query(names.sql(LEAVE_LANE)).bind(claim.seq).execute(&mut *connection).await?;
        free_next(names, connection, lane).await?;
    }
    Ok(true)
}

pub(super) async fn finish(names: &Names, connection: &mut PgConnection, claim: Claim) -> Result<bool, sqlx::Error> {
    let finished = sqlx::query_scalar(names.sql(FINISH)).bind(claim.seq).bind(claim.fence);
    let Some(lane) = finished.fetch_optional(&mut *connection).await? else { return Ok(false) };
    free_next(names, connection, lane).await?;
    Ok(true)
}

/// Whether a lane has any work. Work that is ready counts: it is earlier than what is stored now.
pub(super) async fn lane_is_held(
    names: &Names,
    connection: &mut PgConnection,
    lane: String,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(names.sql(LANE_IS_HELD)).bind(rows::escape(lane)).fetch_one(connection).await
}
