//! Outbox rows, settled: only where the fences of their shards still hold.

use std::time::SystemTime;

use sqlx::{PgConnection, PgPool, Row};

use super::{PostgresStore, rows};
use crate::store::names::Names;
use crate::store::{Claim, OutboxOutcome, StoreError};

/// The shards whose fence still holds, locked, so that nobody takes them over before the end.
///
/// Arrays are in subqueries of their own, so that the planner does not know how long they are: see `STANDINGS` of the inbox.
macro_rules! held {
    () => {
        "WITH held AS MATERIALIZED (
            SELECT mine.shard FROM cqrs_shards AS mine
            JOIN unnest((SELECT $1::smallint[]), (SELECT $2::bigint[])) AS wanted (shard, fence)
                ON mine.shard = wanted.shard AND mine.fence = wanted.fence
            WHERE mine.owner = $3
            FOR SHARE OF mine)"
    };
}

const HELD: &str = concat!(held!(), " SELECT shard FROM held");

const PUBLISHED: &str = concat!(
    held!(),
    ", gone AS (
        DELETE FROM cqrs_outbox WHERE seq = ANY ((SELECT $4::bigint[])::bigint[]) AND shard = ANY (ARRAY(SELECT shard FROM held)) RETURNING 1)
    SELECT (SELECT COUNT(*) FROM gone) AS gone, ARRAY(SELECT shard FROM held) AS held"
);

const DELETE: &str = "DELETE FROM cqrs_outbox WHERE seq = ANY ($1)";

/// The numbers, when each was published, and until when it is kept. A number may come again, where somebody has emptied the table with
/// its numbers.
const KEEP: &str = "
WITH gone AS (DELETE FROM cqrs_outbox WHERE seq = ANY ($1) RETURNING *)
INSERT INTO cqrs_published (seq, id, name, version, topic, message_key, payload, headers, raised_at, published_at,
    kept_until)
SELECT gone.seq, id, name, version, topic, message_key, payload, headers, raised_at, kept.at, kept.until
FROM gone JOIN unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS kept (seq, at, until) ON kept.seq = gone.seq
ON CONFLICT (seq) DO UPDATE SET (id, name, version, topic, message_key, payload, headers, raised_at, published_at, kept_until) =
    (excluded.id, excluded.name, excluded.version, excluded.topic, excluded.message_key, excluded.payload, excluded.headers,
        excluded.raised_at, excluded.published_at, excluded.kept_until)";

/// How much is purged in one statement.
const PURGED_AT_ONCE: u16 = 1_000;

const PURGE: &str = "
DELETE FROM cqrs_published WHERE seq = ANY (ARRAY(
    SELECT seq FROM cqrs_published WHERE kept_until <= $1 ORDER BY kept_until LIMIT $2 FOR UPDATE SKIP LOCKED
))";

const BURY: &str = "
UPDATE cqrs_outbox AS mine SET state = 'dead', attempts = attempts + 1, lost = 0, error = ended.error
FROM unnest($1::bigint[], $2::text[]) AS ended (seq, error)
WHERE mine.seq = ended.seq AND mine.state = 'ready'";

/// When the broker goes away, thousands of rows are put off at once: so one statement for all of them.
const RETRY: &str = "
UPDATE cqrs_outbox AS mine SET state = 'waiting', attempts = attempts + 1, lost = 0, error = ended.error, due_at = ended.due
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS ended (seq, error, due)
WHERE mine.seq = ended.seq AND mine.state = 'ready'";

/// A row that was counted before it was given out, and was not tried.
const UNCOUNT: &str = "
UPDATE cqrs_outbox SET attempts = GREATEST(attempts - 1, 0), lost = GREATEST(lost - 1, 0), xact = pg_current_xact_id()
WHERE seq = ANY ($1) AND state = 'ready'";

/// Something was heard of a shard's rows: what is in it ends no process.
const TRUST: &str = "UPDATE cqrs_shards SET lost = 0 WHERE owner = $1 AND shard = ANY ($2) AND lost > 0";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[HELD, PUBLISHED, DELETE, KEEP, PURGE, BURY, RETRY, UNCOUNT, TRUST];

/// What is to be settled: claims that this process knows to hold, each with its shard.
struct Batch {
    rows: Vec<Ended>,
    /// The shards, and their fences.
    shards: Vec<(i16, i64)>,
}

struct Ended {
    claim: Claim,
    shard: i16,
    outcome: OutboxOutcome,
    counted: bool,
}

impl PostgresStore {
    pub(super) async fn end_outbox(&self, outcomes: Vec<(Claim, OutboxOutcome)>) -> Result<u64, StoreError> {
        let batch = self.known(outcomes);
        if batch.rows.is_empty() {
            return Ok(0);
        }
        let is_plain = |row: &Ended| match row.outcome {
            OutboxOutcome::Published => true,
            OutboxOutcome::HandBack => !row.counted,
            _ => false,
        };
        let is_trusted =
            batch.shards.iter().all(|(shard, _)| self.desk().held(*shard).is_none_or(|held| held.lost == 0));
        let (held, settled) = if is_trusted && batch.rows.iter().all(is_plain) {
            self.settle_plain(&batch).await?
        } else {
            self.settle_each(&batch).await?
        };
        let mut desk = self.desk();
        for (shard, _) in batch.shards.iter().filter(|(shard, _)| !held.contains(shard)) {
            desk.lost(*shard);
        }
        for row in batch.rows {
            match row.outcome {
                OutboxOutcome::HandBack => desk.back(row.claim),
                OutboxOutcome::Published | OutboxOutcome::Kept { .. } => desk.published(row.claim),
                _ => desk.ended(row.claim),
            }
        }
        Ok(settled)
    }

    fn known(&self, outcomes: Vec<(Claim, OutboxOutcome)>) -> Batch {
        let desk = self.desk();
        let mut rows = Vec::with_capacity(outcomes.len());
        let mut shards: Vec<(i16, i64)> = Vec::new();
        for (claim, outcome) in outcomes {
            let Some(flight) = desk.flight(claim) else { continue };
            let Some(held) = desk.held(flight.shard) else { continue };
            rows.push(Ended { claim, shard: flight.shard, outcome, counted: flight.counted });
            if !shards.iter().any(|(shard, _)| *shard == flight.shard) {
                shards.push((flight.shard, held.fence));
            }
        }
        Batch { rows, shards }
    }

    /// Published and handed back: one statement, and nothing else to wait for.
    async fn settle_plain(&self, batch: &Batch) -> Result<(Vec<i16>, u64), StoreError> {
        let published: Vec<i64> = batch.numbers(|row| row.outcome == OutboxOutcome::Published);
        let (shards, fences): (Vec<i16>, Vec<i64>) = batch.shards.iter().copied().unzip();
        let row = sqlx::query(self.names.sql(PUBLISHED))
            .bind(shards)
            .bind(fences)
            .bind(self.me.as_str())
            .bind(published)
            .fetch_one(&self.pool)
            .await?;
        let (gone, held): (i64, Vec<i16>) = (row.try_get("gone")?, row.try_get("held")?);
        let is_back = |row: &&Ended| row.outcome == OutboxOutcome::HandBack && held.contains(&row.shard);
        let back = batch.rows.iter().filter(is_back).count() as u64;
        Ok((held, u64::try_from(gone).unwrap_or(0) + back))
    }

    async fn settle_each(&self, batch: &Batch) -> Result<(Vec<i16>, u64), StoreError> {
        let mut tx = self.write().await?;
        let (shards, fences): (Vec<i16>, Vec<i64>) = batch.shards.iter().copied().unzip();
        let statement = sqlx::query_scalar(self.names.sql(HELD)).bind(shards).bind(fences).bind(self.me.as_str());
        let held: Vec<i16> = statement.fetch_all(&mut *tx).await?;
        let is_held = |row: &Ended| held.contains(&row.shard);
        let published = batch.numbers(|row| is_held(row) && row.outcome == OutboxOutcome::Published);
        let mut settled = 0;
        if !published.is_empty() {
            let delete = sqlx::query(self.names.sql(DELETE)).bind(published).execute(&mut *tx).await?;
            settled += delete.rows_affected();
        }
        settled += self.settle_others(&mut tx, batch.rows.iter().filter(|row| is_held(row))).await?;
        let mut heard: Vec<i16> =
            batch.rows.iter().filter(|row| is_held(row) && row.is_heard()).map(|row| row.shard).collect();
        heard.sort_unstable();
        heard.dedup();
        if heard.iter().any(|shard| self.desk().held(*shard).is_some_and(|held| held.lost > 0)) {
            sqlx::query(self.names.sql(TRUST)).bind(self.me.as_str()).bind(&heard).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        let mut desk = self.desk();
        for shard in heard {
            desk.trust(shard);
        }
        Ok((held, settled))
    }

    /// What was not published, a statement for each way to end.
    async fn settle_others<'r>(
        &self,
        connection: &mut PgConnection,
        rows: impl Iterator<Item = &'r Ended>,
    ) -> Result<u64, StoreError> {
        let (mut settled, mut uncounted, mut dead, mut waiting) = (0, Vec::new(), Lists::default(), Lists::default());
        let mut kept: (Vec<i64>, Vec<i64>, Vec<i64>) = Default::default();
        for row in rows {
            let seq = row.claim.seq;
            match &row.outcome {
                OutboxOutcome::Published => {}
                OutboxOutcome::Kept { at, until } => {
                    kept.0.push(seq);
                    kept.1.push(rows::micros(*at));
                    kept.2.push(rows::micros(*until));
                }
                OutboxOutcome::HandBack if row.counted => uncounted.push(seq),
                OutboxOutcome::HandBack => settled += 1,
                OutboxOutcome::Dead { error } => dead.push(seq, error, 0),
                OutboxOutcome::Retry { due, error } => waiting.push(seq, error, rows::micros(*due)),
            }
        }
        if !kept.0.is_empty() {
            let keep = sqlx::query(self.names.sql(KEEP)).bind(kept.0).bind(kept.1).bind(kept.2);
            settled += keep.execute(&mut *connection).await?.rows_affected();
        }
        if !uncounted.is_empty() {
            let uncount = sqlx::query(self.names.sql(UNCOUNT)).bind(uncounted).execute(&mut *connection).await?;
            settled += uncount.rows_affected();
        }
        if !dead.numbers.is_empty() {
            let bury = sqlx::query(self.names.sql(BURY)).bind(dead.numbers).bind(dead.errors);
            settled += bury.execute(&mut *connection).await?.rows_affected();
        }
        if !waiting.numbers.is_empty() {
            let retry = sqlx::query(self.names.sql(RETRY)).bind(waiting.numbers).bind(waiting.errors).bind(waiting.due);
            settled += retry.execute(connection).await?.rows_affected();
        }
        Ok(settled)
    }
}

/// Deletes published events that were kept until now.
pub(super) async fn purge(names: &Names, pool: &PgPool, now: SystemTime) -> Result<u64, sqlx::Error> {
    let mut purged = 0;
    loop {
        let statement = sqlx::query(names.sql(PURGE)).bind(rows::micros(now)).bind(i64::from(PURGED_AT_ONCE));
        let count = statement.execute(pool).await?.rows_affected();
        purged += count;
        if count < u64::from(PURGED_AT_ONCE) {
            return Ok(purged);
        }
    }
}

/// Rows that end in the same way, as lists.
#[derive(Default)]
struct Lists<'r> {
    numbers: Vec<i64>,
    errors: Vec<std::borrow::Cow<'r, str>>,
    due: Vec<i64>,
}

impl<'r> Lists<'r> {
    fn push(&mut self, seq: i64, error: &'r str, due: i64) {
        self.numbers.push(seq);
        self.errors.push(rows::shown(error));
        self.due.push(due);
    }
}

impl Batch {
    fn numbers(&self, which: impl Fn(&Ended) -> bool) -> Vec<i64> {
        self.rows.iter().filter(|row| which(row)).map(|row| row.claim.seq).collect()
    }
}

impl Ended {
    /// Whether something was heard of it: it was tried, and ended no process.
    fn is_heard(&self) -> bool {
        self.outcome != OutboxOutcome::HandBack
    }
}
