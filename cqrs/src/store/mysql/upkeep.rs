//! What concerns outbox and work together: handing back, counts.

use std::collections::BTreeMap;
use std::time::SystemTime;

use sqlx::Row;

use super::{MySqlStore, rows};
use crate::store::{Counts, StoreError, WorkKind, WorkQueue};

/// What an owner is busy with.
const OWNED: &str = "SELECT seq FROM cqrs_work FORCE INDEX (cqrs_work_state) WHERE state = 'claimed' AND owner = ?";

const HAND_BACK: &str = "
UPDATE cqrs_work FORCE INDEX (PRIMARY) SET state = 'ready', owner = NULL, lease_until = NULL
WHERE seq IN (#) AND state = 'claimed' AND owner = ?";

/// What is being done, or dead, does not count. What nobody takes back any more does: its queue may be nobody's by now.
const BY_QUEUE: &str = "
SELECT sample.kind, sample.consumer_group, sample.handler, counted.pieces FROM (
    SELECT MIN(seq) AS sample, COUNT(*) AS pieces FROM cqrs_work FORCE INDEX (cqrs_work_state)
    WHERE state IN ('ready', 'waiting', 'parked') GROUP BY queue
    UNION ALL
    SELECT MIN(seq), COUNT(*) FROM cqrs_work FORCE INDEX (cqrs_work_state)
    WHERE state = 'claimed' AND lease_until <= ? GROUP BY queue
) AS counted JOIN cqrs_work AS sample ON sample.seq = counted.sample";

const COUNTS: &str = "
SELECT
    (SELECT COUNT(*) FROM cqrs_outbox FORCE INDEX (cqrs_outbox_state)
        WHERE state IN ('ready', 'waiting', 'parked')) AS outbox,
    (SELECT COUNT(*) FROM cqrs_work FORCE INDEX (cqrs_work_state)
        WHERE state IN ('ready', 'claimed', 'waiting', 'parked')) AS work,
    (SELECT COUNT(*) FROM cqrs_work FORCE INDEX (cqrs_work_timer_due)
        WHERE timer_due IS NOT NULL AND state IN ('ready', 'claimed', 'waiting')) AS timers,
    (SELECT COUNT(*) FROM cqrs_inbox) AS inbox,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead')
        + (SELECT COUNT(*) FROM cqrs_work WHERE state = 'dead') AS dead,
    (SELECT COUNT(*) FROM cqrs_work WHERE state = 'claimed') AS claimed";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[OWNED, HAND_BACK, BY_QUEUE, COUNTS];

impl MySqlStore {
    pub(super) async fn hand_back(&self, owner: String) -> Result<(), StoreError> {
        self.release_outbox(&owner).await?;
        let owner = owner.into_bytes();
        let found = sqlx::query_scalar(self.names.sql(OWNED)).bind(owner.as_slice()).fetch_all(&self.pool).await;
        let found: Vec<i64> = self.named(found)?;
        for numbers in found.chunks(rows::MOST_ROWS) {
            let statement = rows::listed(&self.names, HAND_BACK, numbers).bind(owner.as_slice());
            self.named(statement.execute(&self.pool).await)?;
        }
        Ok(())
    }

    /// Work of a kind that only newer programs know is left out.
    pub(super) async fn by_queue(&self, lease_now: SystemTime) -> Result<Vec<(WorkQueue, u64)>, StoreError> {
        let mut counted: BTreeMap<WorkQueue, u64> = BTreeMap::new();
        let statement = sqlx::query(self.names.sql(BY_QUEUE)).bind(rows::micros(lease_now));
        for row in self.named(statement.fetch_all(&self.pool).await)? {
            let (group, handler) = (rows::text_of(&row, "consumer_group"), rows::text_of(&row, "handler"));
            let (Ok(group), Ok(handler)) = (group, handler) else { continue };
            if let Some(kind) = WorkKind::from_stored(row.try_get("kind")?) {
                let pieces: i64 = row.try_get("pieces")?;
                *counted.entry(WorkQueue { kind, group, handler }).or_default() += u64::try_from(pieces).unwrap_or(0);
            }
        }
        Ok(counted.into_iter().collect())
    }

    /// Of the events that somebody is busy with, those of this process: what another one has in mind is not in the database.
    pub(super) async fn count(&self) -> Result<Counts, StoreError> {
        let row = self.named(sqlx::query(self.names.sql(COUNTS)).fetch_one(&self.pool).await)?;
        let count = |column| row.try_get::<i64, &str>(column).map(|count| u64::try_from(count).unwrap_or(0));
        let busy = self.with_desk(|desk| u64::try_from(desk.len()).unwrap_or(u64::MAX));
        Ok(Counts {
            outbox: count("outbox")?,
            work: count("work")?,
            timers: count("timers")?,
            inbox: count("inbox")?,
            dead: count("dead")?,
            claimed: count("claimed")? + busy,
        })
    }
}
