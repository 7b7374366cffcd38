//! What concerns outbox and work together: handing back, counts.

use std::time::SystemTime;

use sqlx::{PgPool, Row};

use super::{PostgresStore, rows};
use crate::store::names::Names;
use crate::store::{Counts, StoreError, WorkKind, WorkQueue};

const HAND_BACK: &str = "
UPDATE cqrs_work SET state = 'ready', owner = NULL, lease_until = NULL WHERE state = 'claimed' AND owner = $1";

/// What is being done, or dead, does not count. What nobody takes back any more does: its queue may be nobody's by now.
const BY_QUEUE: &str = "
SELECT kind, consumer_group, handler, COUNT(*) AS pieces FROM cqrs_work
WHERE state IN ('ready', 'waiting', 'parked') OR (state = 'claimed' AND lease_until <= $1)
GROUP BY kind, consumer_group, handler";

/// Each state by an index that has it alone: of a table of which most lies still, nothing is read but those.
const COUNTS: &str = "
SELECT
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'ready') + (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'waiting')
        + (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'parked') AS outbox,
    (SELECT COUNT(*) FROM cqrs_work WHERE state = 'ready') + (SELECT COUNT(*) FROM cqrs_work WHERE state = 'claimed')
        + (SELECT COUNT(*) FROM cqrs_work WHERE state = 'waiting')
        + (SELECT COUNT(*) FROM cqrs_work WHERE state = 'parked') AS work,
    (SELECT COUNT(*) FROM cqrs_work WHERE state = 'ready' AND kind = 'timer')
        + (SELECT COUNT(*) FROM cqrs_work WHERE state = 'claimed' AND kind = 'timer')
        + (SELECT COUNT(*) FROM cqrs_work WHERE state = 'waiting' AND kind = 'timer') AS timers,
    (SELECT COUNT(*) FROM cqrs_inbox) AS inbox,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead')
        + (SELECT COUNT(*) FROM cqrs_work WHERE state = 'dead') AS dead,
    (SELECT COUNT(*) FROM cqrs_work WHERE state = 'claimed') AS claimed";

/// The statements of this file that are to scan no table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[HAND_BACK];

/// Those that count, which is reading: indexes, and of tables the inbox alone.
#[cfg(test)]
pub(super) const COUNTING: &[&str] = &[COUNTS];

/// Those that read a table from end to end: once an hour, for no index has the queues of what is parked.
#[cfg(test)]
pub(super) const READING: &[&str] = &[BY_QUEUE];

impl PostgresStore {
    /// What of an owner's work has not ended, goes back. Its events too, and with the last of them the shards: others need not
    /// wait for the leases to run out.
    pub(super) async fn hand_back(&self, owner: String) -> Result<(), StoreError> {
        sqlx::query(self.names.sql(HAND_BACK)).bind(owner.as_str()).execute(&self.pool).await?;
        self.leave_outbox(&owner).await
    }

    /// How much there is. Which events somebody is busy with, every process knows of itself.
    pub(super) async fn count(&self) -> Result<Counts, StoreError> {
        let row = sqlx::query(self.names.sql(COUNTS)).fetch_one(&self.pool).await?;
        let count = |column| row.try_get::<i64, &str>(column).map(|count| u64::try_from(count).unwrap_or(0));
        Ok(Counts {
            outbox: count("outbox")?,
            work: count("work")?,
            timers: count("timers")?,
            inbox: count("inbox")?,
            dead: count("dead")?,
            claimed: count("claimed")? + self.under_way() as u64,
        })
    }
}

/// Work of a kind that only newer programs know is left out.
pub(super) async fn by_queue(
    names: &Names,
    pool: &PgPool,
    lease_now: SystemTime,
) -> Result<Vec<(WorkQueue, u64)>, sqlx::Error> {
    let mut counted = Vec::new();
    for row in sqlx::query(names.sql(BY_QUEUE)).bind(rows::micros(lease_now)).fetch_all(pool).await? {
        let (group, handler) = (row.try_get("consumer_group")?, row.try_get("handler")?);
        if let Some(kind) = WorkKind::from_stored(row.try_get("kind")?) {
            let pieces: i64 = row.try_get("pieces")?;
            counted.push((WorkQueue { kind, group, handler }, u64::try_from(pieces).unwrap_or(0)));
        }
    }
    Ok(counted)
}
