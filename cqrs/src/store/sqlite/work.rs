//! Stored work: stored, claimed, ended.

use std::time::SystemTime;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::{SqliteStore, rows, timer};
use crate::BoxError;
use crate::store::claiming::{self, MOST_LOOKED_AT, Request, first_state};
use crate::store::{Claim, ClaimedWork, StoreError, WorkKind, WorkRecord};

const COLUMNS: usize = 17;

/// Stores work, numbered in the order given. A timer takes the place of one with the same name and key that is not
/// claimed. Gives the timers that did, each by the id it came with and the id it has.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    records: Vec<WorkRecord>,
) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
    let (records, moved) = timer::replace(connection, records).await?;
    for records in rows::chunks(records, rows::rows_per_statement(COLUMNS)) {
        let count = records.len();
        let records = with_headers(records)?;
        let mut statement = QueryBuilder::new(
            "INSERT INTO cqrs_work (id, kind, handler, consumer_group, name, version, topic, message_key, lane, \
             timer_key, payload, headers, created_at, state, due_at, attempts, error) ",
        );
        statement.push_values(records, |mut row, (record, headers)| {
            let state = first_state(&record);
            row.push_bind(rows::id_bytes(record.id))
                .push_bind(record.kind.as_str())
                .push_bind(record.handler)
                .push_bind(record.group)
                .push_bind(record.name)
                .push_bind(i64::from(record.version))
                .push_bind(record.topic)
                .push_bind(record.key)
                .push_bind(record.lane)
                .push_bind(record.timer_key)
                .push_bind(record.payload)
                .push_bind(headers)
                .push_bind(rows::micros(record.created_at))
                .push_bind(state)
                .push_bind(rows::micros(record.due_at))
                .push_bind(i64::from(record.attempts))
                .push_bind(record.error);
        });
        rows::run(connection, statement, count).await?;
    }
    Ok(moved)
}

fn with_headers(records: Vec<WorkRecord>) -> Result<Vec<(WorkRecord, String)>, StoreError> {
    records.into_iter().map(|record| rows::headers_text(&record.headers).map(|headers| (record, headers))).collect()
}

/// The rows of one of the queues that were asked for, which `json_each` gives as `wanted`.
macro_rules! of_wanted {
    () => {
        "kind = json_extract(wanted.value, '$[0]') AND consumer_group = json_extract(wanted.value, '$[1]') \
         AND handler = json_extract(wanted.value, '$[2]')"
    };
}

/// Whether a claim would find something: asked without the write lock, so that an idle worker disturbs no writer.
const ANYTHING: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM json_each(?3) AS wanted WHERE
        EXISTS (SELECT 1 FROM cqrs_work WHERE state = 'waiting' AND ",
    of_wanted!(),
    " AND due_at <= ?1)
        OR EXISTS (SELECT 1 FROM cqrs_work WHERE state = 'claimed' AND ",
    of_wanted!(),
    " AND lease_until <= ?2)
        OR EXISTS (SELECT 1 FROM cqrs_work WHERE state = 'ready' AND ",
    of_wanted!(),
    "))"
);

/// The soonest of: a ready row, a row that waits. A ready row that stands behind another one of its lane is parked by the
/// first claim that finds it, and nobody waits for it any more.
pub(super) const NEXT_DUE: &str = concat!(
    "SELECT MIN(at) FROM (
        SELECT (SELECT MIN(due_at) FROM cqrs_work WHERE state = 'waiting' AND ",
    of_wanted!(),
    ") AS at
        FROM json_each(?1) AS wanted
        UNION ALL
        SELECT (SELECT due_at FROM cqrs_work WHERE state = 'ready' AND ",
    of_wanted!(),
    " LIMIT 1)
        FROM json_each(?1) AS wanted)"
);

/// Wakes what waited until now, but timers: a thousand of each queue at a time, since after a time in which nothing ran there may be a
/// million, and nobody can write meanwhile.
const WAKE: &str = concat!(
    "UPDATE cqrs_work SET state = 'ready' WHERE seq IN (
        SELECT found.seq FROM json_each(?2) AS wanted CROSS JOIN cqrs_work AS found
        WHERE json_extract(wanted.value, '$[0]') <> 'timer' AND found.seq IN (
            SELECT seq FROM cqrs_work WHERE state = 'waiting' AND ",
    of_wanted!(),
    " AND due_at <= ?1 ORDER BY due_at LIMIT 1000))"
);

/// Doubts an owner whose lease has run out, and gives it so much longer to say that it lives: see the outbox.
const DOUBT: &str = concat!(
    "UPDATE cqrs_work SET doubted = 1, lease_until = ?3 WHERE seq IN (
        SELECT found.seq FROM json_each(?2) AS wanted CROSS JOIN cqrs_work AS found WHERE found.seq IN (
            SELECT seq FROM cqrs_work WHERE state = 'claimed' AND ",
    of_wanted!(),
    " AND lease_until <= ?1 AND doubted = 0 ORDER BY lease_until LIMIT 1000))"
);

/// Takes back what a process held that died or stalled, and was doubted. It counts as an attempt: otherwise a message that kills its
/// process would be tried for ever.
const TAKE_BACK: &str = concat!(
    "UPDATE cqrs_work
    SET state = 'ready', owner = NULL, lease_until = NULL, attempts = attempts + 1,
        error = 'the process that held it stopped, or stalled for longer than its lease'
    WHERE seq IN (
        SELECT found.seq FROM json_each(?2) AS wanted CROSS JOIN cqrs_work AS found WHERE found.seq IN (
            SELECT seq FROM cqrs_work WHERE state = 'claimed' AND ",
    of_wanted!(),
    " AND lease_until <= ?1 AND doubted = 1 ORDER BY lease_until LIMIT 1000))"
);

/// After waking and taking back, ready rows are all there is to take, and timers that wait no longer, the most overdue first; of a lane,
/// its oldest row or none.
const FIND: &str = concat!(
    "SELECT NULL AS until, found.seq, wanted.key AS queue, found.lane IS NOT NULL AND EXISTS (
        SELECT 1 FROM cqrs_work AS earlier WHERE earlier.lane = found.lane AND earlier.seq < found.seq) AS behind
    FROM json_each(?1) AS wanted CROSS JOIN cqrs_work AS found
    WHERE found.seq IN (SELECT seq FROM cqrs_work WHERE state = 'ready' AND ",
    of_wanted!(),
    " ORDER BY seq LIMIT ?2)
    UNION ALL
    SELECT found.due_at, found.seq, wanted.key, FALSE
    FROM json_each(?1) AS wanted CROSS JOIN cqrs_work AS found
    WHERE json_extract(wanted.value, '$[0]') = 'timer'
        AND found.seq IN (SELECT seq FROM cqrs_work WHERE state = 'waiting' AND ",
    of_wanted!(),
    " AND due_at <= ?3 ORDER BY due_at LIMIT ?2)"
);

/// Sets rows aside that stand behind others of their lane: claims do not look at them again until they are freed. The `+`
/// keeps SQLite from finding them by their state, of which there may be very many, and not by their number.
pub(super) const PARK: &str =
    "UPDATE cqrs_work SET state = 'parked' WHERE seq IN (SELECT value FROM json_each(?)) AND +state = 'ready'";

/// Frees the row that a lane begins with, now that an earlier one has gone. In the same transaction, always: in between
/// nobody would ever look at it.
const FREE_NEXT: &str = "
UPDATE cqrs_work SET state = 'ready'
WHERE seq = (SELECT MIN(seq) FROM cqrs_work WHERE lane = ?) AND state = 'parked'";

/// Frees rows that nothing stands before. There are none, unless somebody has deleted rows by hand.
const FREE_STRANDED: &str = "
UPDATE cqrs_work SET state = 'ready'
WHERE state = 'parked' AND NOT EXISTS (
    SELECT 1 FROM cqrs_work AS earlier WHERE earlier.lane = cqrs_work.lane AND earlier.seq < cqrs_work.seq
)";

const CLAIM: &str = "
UPDATE cqrs_work SET state = 'claimed', fence = fence + 1, owner = ?, lease_until = ?, doubted = 0
WHERE seq IN (SELECT value FROM json_each(?))
RETURNING seq, fence, id, kind, handler, consumer_group, name, version, topic, message_key, lane, timer_key, payload,
    headers, created_at, due_at, attempts, error, deferred_since";

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

/// Takes buried work out of its lane. `RETURNING` gives what a row has become, so the lane is asked for before.
const LEAVE_LANE: &str = "UPDATE cqrs_work SET lane = NULL WHERE seq = ?";

const LANE: &str = "SELECT lane FROM cqrs_work WHERE seq = ?";

const FINISH: &str = "DELETE FROM cqrs_work WHERE seq = ? AND fence = ? AND state = 'claimed' RETURNING lane";

const LANE_IS_HELD: &str = "SELECT EXISTS (SELECT 1 FROM cqrs_work WHERE lane = ?)";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    ANYTHING,
    WAKE,
    TAKE_BACK,
    FIND,
    CLAIM,
    RETRY,
    DEFER,
    BURY,
    FINISH,
    LANE_IS_HELD,
    NEXT_DUE,
    PARK,
    FREE_NEXT,
    FREE_STRANDED,
    LEAVE_LANE,
    LANE,
    DOUBT,
];

/// With its queues for `json_each`.
pub(super) type Wanted<'a> = claiming::Wanted<'a, String>;

impl SqliteStore {
    pub(super) async fn take_work(&self, wanted: Wanted<'_>, request: Request) -> Result<Vec<ClaimedWork>, StoreError> {
        let anything = sqlx::query_scalar(ANYTHING).bind(request.now).bind(request.lease_now).bind(&*wanted.queues);
        let anything = anything.fetch_one(&self.pool).await;
        if request.limit == 0 || !self.named(anything)? {
            return Ok(Vec::new());
        }
        loop {
            let mut tx = self.write().await?;
            let (claimed, all_parked) = self.named(claim(&mut tx, &wanted, &request.granted()).await)?;
            tx.commit().await?;
            if !claimed.is_empty() || !all_parked {
                return Ok(claimed);
            }
        }
    }

    /// Buries work. Its lane is forgotten where the lane is to go on: a replay later comes outside of the order anyway.
    pub(super) async fn end_dead(&self, claim: Claim, error: String, skip_lane: bool) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let buried = self.named(bury(&mut tx, claim, error, skip_lane).await)?;
        tx.commit().await?;
        Ok(buried)
    }
}

/// Claims what is free, under the write lock: how much there is room for is asked here. Whether it looked at as much as one claim may, parked what it found, and left the rest.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    wanted: &Wanted<'_>,
    request: &Request,
) -> Result<(Vec<ClaimedWork>, bool), sqlx::Error> {
    let queues = wanted.queues.as_str();
    sqlx::query(WAKE).bind(request.now).bind(queues).execute(&mut *connection).await?;
    sqlx::query(TAKE_BACK).bind(request.lease_now).bind(queues).execute(&mut *connection).await?;
    let doubt = sqlx::query(DOUBT).bind(request.lease_now).bind(queues).bind(request.doubt_until());
    doubt.execute(&mut *connection).await?;
    let mut claimed = Vec::new();
    let (mut limits, mut limit) = (wanted.limits(), request.limit);
    let mut at_once = limits.iter().copied().max().unwrap_or(0).min(limit);
    loop {
        let (mut behind, mut free, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
        for (_, seq, queue, is_behind) in find(connection, queues, at_once, request.now).await? {
            let Some(share) = wanted.share(queue) else { continue };
            if is_behind {
                behind.push(seq);
                hidden.push(share);
            } else if limits[share] > 0 && limit > 0 {
                free.push(seq);
                limits[share] -= 1;
                limit -= 1;
            }
        }
        if !behind.is_empty() {
            sqlx::query(PARK).bind(rows::list(&behind)).execute(&mut *connection).await?;
        }
        take(connection, &free, request, &mut claimed).await?;
        // Only what was parked can have hidden rows further back that there is room for.
        let done = limit == 0 || hidden.iter().all(|share| limits[*share] == 0);
        if done || at_once >= MOST_LOOKED_AT {
            // `RETURNING` promises no order.
            claiming::put_in_order(&mut claimed);
            return Ok((claimed, !done));
        }
        at_once = at_once.saturating_mul(8).min(MOST_LOOKED_AT);
    }
}

/// Claims rows by their numbers.
async fn take(
    connection: &mut SqliteConnection,
    numbers: &[i64],
    request: &Request,
    claimed: &mut Vec<ClaimedWork>,
) -> Result<(), sqlx::Error> {
    if numbers.is_empty() {
        return Ok(());
    }
    let found = sqlx::query(CLAIM)
        .bind(request.owner.as_str())
        .bind(request.lease_until)
        .bind(rows::list(numbers))
        .fetch_all(&mut *connection)
        .await?;
    for row in found {
        let claim = rows::claim(&row)?;
        match read(&row) {
            Ok((record, deferred_since)) => claimed.push(ClaimedWork { claim, record, deferred_since }),
            // One bad row must not hold up the others: it becomes a dead letter here and now.
            Err(error) => {
                bury(&mut *connection, claim, format!("the row cannot be read: {error}"), false).await?;
            }
        }
    }
    Ok(())
}

/// What may be taken first of these queues, so much of each: until when it waited if it is a timer, number, queue, and whether it stands
/// behind others of its lane.
async fn find(
    connection: &mut SqliteConnection,
    queues: &str,
    at_once: usize,
    now: i64,
) -> Result<Vec<(Option<i64>, i64, i64, bool)>, sqlx::Error> {
    let found = sqlx::query_as(FIND).bind(queues).bind(rows::limit(at_once)).bind(now);
    let mut found: Vec<(Option<i64>, i64, i64, bool)> = found.fetch_all(&mut *connection).await?;
    found.sort_unstable();
    found.dedup_by_key(|(_, seq, ..)| *seq);
    Ok(found)
}

pub(super) async fn next_due(pool: &SqlitePool, queues: String) -> Result<Option<SystemTime>, sqlx::Error> {
    let next: Option<i64> = sqlx::query_scalar(NEXT_DUE).bind(queues).fetch_one(pool).await?;
    Ok(next.map(rows::time))
}

/// Frees the next row of a lane, whose earlier one has just gone.
pub(super) async fn free_next(connection: &mut SqliteConnection, lane: Option<String>) -> Result<(), sqlx::Error> {
    let Some(lane) = lane else { return Ok(()) };
    sqlx::query(FREE_NEXT).bind(lane).execute(connection).await.map(drop)
}

pub(super) async fn free_stranded(writer: &SqlitePool) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(FREE_STRANDED).execute(writer).await?.rows_affected())
}

fn read(row: &SqliteRow) -> Result<(WorkRecord, Option<SystemTime>), BoxError> {
    let kind: &str = row.try_get("kind")?;
    let deferred_since: Option<i64> = row.try_get("deferred_since")?;
    let record = WorkRecord {
        id: rows::id_of(row, "id")?,
        kind: WorkKind::from_stored(kind).ok_or_else(|| format!("no kind of work is called `{kind}`"))?,
        handler: row.try_get("handler")?,
        group: row.try_get("consumer_group")?,
        name: row.try_get("name")?,
        version: rows::number_of(row, "version")?,
        topic: row.try_get("topic")?,
        key: row.try_get("message_key")?,
        lane: row.try_get("lane")?,
        timer_key: row.try_get("timer_key")?,
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

type Statement = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// Runs a statement that ends a claim. `false` where the fence has moved on.
async fn end<'c>(
    executor: impl sqlx::SqliteExecutor<'c>,
    statement: Statement,
    claim: Claim,
) -> Result<bool, sqlx::Error> {
    let end = statement.bind(claim.seq).bind(claim.fence).execute(executor).await?;
    Ok(end.rows_affected() == 1)
}

pub(super) async fn retry(
    writer: &SqlitePool,
    claim: Claim,
    due: SystemTime,
    error: String,
) -> Result<bool, sqlx::Error> {
    end(writer, sqlx::query(RETRY).bind(rows::micros(due)).bind(error), claim).await
}

pub(super) async fn defer(
    writer: &SqlitePool,
    claim: Claim,
    now: SystemTime,
    due: SystemTime,
    error: String,
) -> Result<bool, sqlx::Error> {
    end(writer, sqlx::query(DEFER).bind(rows::micros(now)).bind(rows::micros(due)).bind(error), claim).await
}

async fn bury(
    connection: &mut SqliteConnection,
    claim: Claim,
    error: String,
    skip_lane: bool,
) -> Result<bool, sqlx::Error> {
    let buried = end(&mut *connection, sqlx::query(BURY).bind(error), claim).await?;
    if buried && skip_lane {
        let lane = sqlx::query_scalar(LANE).bind(claim.seq).fetch_one(&mut *connection).await?;
        sqlx::query(LEAVE_LANE).bind(claim.seq).execute(&mut *connection).await?;
        free_next(connection, lane).await?;
    }
    Ok(buried)
}

pub(super) async fn finish(connection: &mut SqliteConnection, claim: Claim) -> Result<bool, sqlx::Error> {
    let finished = sqlx::query_scalar(FINISH).bind(claim.seq).bind(claim.fence).fetch_optional(&mut *connection);
    let Some(lane) = finished.await? else { return Ok(false) };
    free_next(connection, lane).await?;
    Ok(true)
}

/// Whether a lane has any work. Work that is ready counts: it is earlier than what is stored now.
pub(super) async fn lane_is_held(connection: &mut SqliteConnection, lane: String) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(LANE_IS_HELD).bind(lane).fetch_one(connection).await
}

impl SqliteStore {
    /// Renews claims. Gives those that are still held.
    pub(super) async fn hold_work(
        &self,
        claims: Vec<Claim>,
        lease_until: SystemTime,
    ) -> Result<Vec<Claim>, StoreError> {
        if claims.is_empty() {
            return Ok(claims);
        }
        let mut tx = self.write().await?;
        let held = self.named(renew(&mut tx, claims, lease_until).await)?;
        tx.commit().await?;
        Ok(held)
    }
}

async fn renew(
    connection: &mut SqliteConnection,
    claims: Vec<Claim>,
    lease_until: SystemTime,
) -> Result<Vec<Claim>, sqlx::Error> {
    let mut held = Vec::with_capacity(claims.len());
    for claims in rows::chunks(claims, rows::rows_per_statement(2)) {
        let mut statement = QueryBuilder::new("UPDATE cqrs_work SET doubted = 0, lease_until = ");
        statement.push_bind(rows::micros(lease_until)).push(" WHERE ");
        rows::push_held(&mut statement, &claims);
        statement.push(" RETURNING seq, fence");
        for row in rows::fetch(connection, statement, claims.len()).await? {
            held.push(rows::claim(&row)?);
        }
    }
    Ok(held)
}
