//! Outbox rows, settled: only where the lease is still this process's.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use super::leases::ALL;
use super::{SqliteStore, rows};
use crate::store::{Claim, OutboxOutcome, StoreError};
use crate::unit::Tx;

/// By their numbers: the sign keeps SQLite from the index of states.
const PUBLISHED: &str = "DELETE FROM cqrs_outbox WHERE seq IN (SELECT value FROM json_each(?)) AND +state = 'ready'";

/// They leave in the same transaction.
const KEEP: &str = "
INSERT OR REPLACE INTO cqrs_published (seq, id, name, version, topic, message_key, payload, headers, raised_at, published_at,
    kept_until)
SELECT seq, id, name, version, topic, message_key, payload, headers, raised_at, ?2, ?3
FROM cqrs_outbox WHERE seq IN (SELECT value FROM json_each(?1)) AND +state = 'ready'";

/// How much is purged at once: nobody can write meanwhile.
const PURGED_AT_ONCE: u16 = 1_000;

const PURGE: &str = "
DELETE FROM cqrs_published WHERE seq IN (SELECT seq FROM cqrs_published WHERE kept_until <= ? LIMIT ?)";

const BURY: &str = "
UPDATE cqrs_outbox SET state = 'dead', attempts = attempts + 1, lost = 0, error = ? WHERE seq = ? AND state = 'ready'";

const RETRY: &str = "
UPDATE cqrs_outbox SET state = 'waiting', due_at = ?, attempts = attempts + 1, lost = 0, error = ?
WHERE seq = ? AND state = 'ready'";

/// A row that was counted before it was given out, and was not tried.
const UNCOUNT: &str = "
UPDATE cqrs_outbox SET attempts = MAX(attempts - 1, 0), lost = MAX(lost - 1, 0) WHERE seq = ? AND state = 'ready'";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[PUBLISHED, KEEP, PURGE, BURY, RETRY, UNCOUNT];

/// How long a fence that has moved may take to be known here, and how often that is asked.
const FENCE_LOOKS: usize = 100;
const FENCE_SPACE: Duration = Duration::from_millis(2);

/// A claim that still holds.
struct Ended {
    claim: Claim,
    outcome: OutboxOutcome,
    /// Whether it was counted before it was given out.
    counted: bool,
}

impl SqliteStore {
    pub(super) async fn end_outbox(&self, outcomes: Vec<(Claim, OutboxOutcome)>) -> Result<u64, StoreError> {
        // What holds no more needs no lock to be told.
        if self.desk().held(ALL).is_none() || outcomes.is_empty() {
            return Ok(0);
        }
        let Some(mut tx) = self.write_as_owner().await? else { return Ok(0) };
        let known = self.known(outcomes);
        let is_heard = known.iter().any(|row| row.outcome != OutboxOutcome::HandBack);
        let is_suspected = self.desk().held(ALL).is_some_and(|held| held.lost > 0);
        let settled = self.named(settle(&mut tx, &known).await)?;
        if is_heard && is_suspected {
            self.named(Self::trust(&mut tx).await)?;
        }
        tx.commit().await?;
        let mut desk = self.desk();
        if is_heard {
            desk.trust(ALL);
        }
        for row in known {
            match row.outcome {
                OutboxOutcome::HandBack => desk.back(row.claim),
                OutboxOutcome::Published | OutboxOutcome::Kept { .. } => desk.published(row.claim),
                OutboxOutcome::Retry { .. } | OutboxOutcome::Dead { .. } => desk.ended(row.claim),
            }
        }
        Ok(settled)
    }

    /// The write lock, if the lease is still this process's, and what the desk knows of it is what is there. Just after its fence has
    /// moved that is not so, for a moment.
    async fn write_as_owner(&self) -> Result<Option<Tx<Sqlite>>, StoreError> {
        for _ in 0..FENCE_LOOKS {
            let mut tx = self.write().await?;
            let fence = self.named(self.fence(&mut tx).await)?;
            let held = self.desk().held(ALL).map(|held| held.fence);
            if fence == held {
                return Ok(fence.map(|_| tx));
            }
            if fence.is_none() {
                self.desk().lost(ALL);
                return Ok(None);
            }
            drop(tx);
            tokio::time::sleep(FENCE_SPACE).await;
        }
        Ok(None)
    }

    fn known(&self, outcomes: Vec<(Claim, OutboxOutcome)>) -> Vec<Ended> {
        let desk = self.desk();
        let known = |(claim, outcome)| {
            let counted = desk.flight(claim)?.counted;
            Some(Ended { claim, outcome, counted })
        };
        outcomes.into_iter().filter_map(known).collect()
    }
}

async fn settle(connection: &mut SqliteConnection, known: &[Ended]) -> Result<u64, sqlx::Error> {
    let mut settled = 0;
    let mut published = Vec::with_capacity(known.len());
    let mut kept: BTreeMap<(i64, i64), Vec<i64>> = BTreeMap::new();
    for row in known {
        let seq = row.claim.seq;
        let statement = match &row.outcome {
            OutboxOutcome::Published => {
                published.push(seq);
                continue;
            }
            OutboxOutcome::Kept { at, until } => {
                published.push(seq);
                kept.entry((rows::micros(*at), rows::micros(*until))).or_default().push(seq);
                continue;
            }
            OutboxOutcome::HandBack if !row.counted => {
                settled += 1;
                continue;
            }
            OutboxOutcome::HandBack => sqlx::query(UNCOUNT),
            OutboxOutcome::Retry { due, error } => sqlx::query(RETRY).bind(rows::micros(*due)).bind(error.as_str()),
            OutboxOutcome::Dead { error } => sqlx::query(BURY).bind(error.as_str()),
        };
        settled += statement.bind(seq).execute(&mut *connection).await?.rows_affected();
    }
    for ((at, until), numbers) in kept {
        sqlx::query(KEEP).bind(rows::list(&numbers)).bind(at).bind(until).execute(&mut *connection).await?;
    }
    if !published.is_empty() {
        let delete = sqlx::query(PUBLISHED).bind(rows::list(&published));
        settled += delete.execute(connection).await?.rows_affected();
    }
    Ok(settled)
}

/// Deletes published events that were kept until now.
pub(super) async fn purge(writer: &SqlitePool, now: SystemTime) -> Result<u64, sqlx::Error> {
    let mut purged = 0;
    loop {
        let statement = sqlx::query(PURGE).bind(rows::micros(now)).bind(i64::from(PURGED_AT_ONCE));
        let count = statement.execute(writer).await?.rows_affected();
        purged += count;
        if count < u64::from(PURGED_AT_ONCE) {
            return Ok(purged);
        }
    }
}
