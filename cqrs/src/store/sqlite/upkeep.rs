//! What concerns outbox and work together: handing back, counts.

use std::time::SystemTime;

use sqlx::{Row, SqlitePool};

use super::{SqliteStore, rows};
use crate::store::{Counts, StoreError, WorkKind, WorkQueue};

const HAND_BACK: &str =
    "UPDATE cqrs_work SET state = 'ready', owner = NULL, lease_until = NULL WHERE state = 'claimed' AND owner = ?";

/// What is being done, or dead, does not count. What nobody takes back any more does: its queue may be nobody's by now.
const BY_QUEUE: &str = "
SELECT kind, consumer_group, handler, COUNT(*) AS pieces FROM (
    SELECT kind, consumer_group, handler FROM cqrs_work WHERE state IN ('ready', 'waiting', 'parked')
    UNION ALL
    SELECT kind, consumer_group, handler FROM cqrs_work WHERE state = 'claimed' AND lease_until <= ?
)
GROUP BY kind, consumer_group, handler";

const COUNTS: &str = "
SELECT
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state IN ('ready', 'waiting', 'parked')) AS outbox,
    (SELECT COUNT(*) FROM cqrs_work WHERE state IN ('ready', 'claimed', 'waiting', 'parked')) AS work,
    (SELECT COUNT(*) FROM cqrs_work WHERE state IN ('ready', 'claimed', 'waiting') AND kind = 'timer') AS timers,
    (SELECT COUNT(*) FROM cqrs_inbox) AS inbox,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead')
        + (SELECT COUNT(*) FROM cqrs_work WHERE state = 'dead') AS dead,
    (SELECT COUNT(*) FROM cqrs_work WHERE state = 'claimed') AS claimed";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[HAND_BACK, BY_QUEUE, COUNTS];

impl SqliteStore {
    /// What of an owner's work has not ended, goes back. Its events too, and with the last of them the lease of the outbox: others need not
    /// wait for it to run out.
    pub(super) async fn hand_back(&self, owner: String) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        self.named(sqlx::query(HAND_BACK).bind(owner.as_str()).execute(&mut *tx).await)?;
        tx.commit().await?;
        self.leave_outbox(&owner).await
    }
}

/// Work of a kind that only newer programs know is left out.
pub(super) async fn by_queue(pool: &SqlitePool, lease_now: SystemTime) -> Result<Vec<(WorkQueue, u64)>, sqlx::Error> {
    let mut counted = Vec::new();
    for row in sqlx::query(BY_QUEUE).bind(rows::micros(lease_now)).fetch_all(pool).await? {
        let (group, handler) = (row.try_get("consumer_group")?, row.try_get("handler")?);
        if let Some(kind) = WorkKind::from_stored(row.try_get("kind")?) {
            let pieces: i64 = row.try_get("pieces")?;
            counted.push((WorkQueue { kind, group, handler }, u64::try_from(pieces).unwrap_or(0)));
        }
    }
    Ok(counted)
}

/// How much there is. Which events somebody is busy with, every process knows of itself.
pub(super) async fn counts(pool: &SqlitePool, busy: usize) -> Result<Counts, sqlx::Error> {
    let row = sqlx::query(COUNTS).fetch_one(pool).await?;
    let count = |column| row.try_get::<i64, &str>(column).map(|count| u64::try_from(count).unwrap_or(0));
    Ok(Counts {
        outbox: count("outbox")?,
        work: count("work")?,
        timers: count("timers")?,
        inbox: count("inbox")?,
        dead: count("dead")?,
        claimed: count("claimed")? + busy as u64,
    })
}
