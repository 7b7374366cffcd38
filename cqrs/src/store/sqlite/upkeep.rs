//! What concerns outbox and work together: handing back, the next due time, counts.

use std::time::SystemTime;

use sqlx::{Row, SqlitePool};

use super::{SqliteStore, rows};
use crate::store::{Counts, StoreError};

const HAND_BACK: [&str; 2] = [
    "UPDATE cqrs_outbox SET state = 'ready', owner = NULL, lease_until = NULL WHERE state = 'claimed' AND owner = ?",
    "UPDATE cqrs_work SET state = 'ready', owner = NULL, lease_until = NULL WHERE state = 'claimed' AND owner = ?",
];

/// The soonest of: a ready row that nothing stands in the way of, a row that waits. A ready row behind a dead one does not count: nobody could take it, and whoever waits for it would turn in circles.
const NEXT_DUE: &str = "
SELECT MIN(at) FROM (
    SELECT MIN(due_at) AS at FROM cqrs_outbox WHERE state = 'waiting'
    UNION ALL SELECT * FROM (
        SELECT mine.due_at FROM cqrs_outbox AS mine
        WHERE mine.state = 'ready' AND (mine.message_key IS NULL OR NOT EXISTS (
            SELECT 1 FROM cqrs_outbox AS earlier
            WHERE earlier.topic = mine.topic AND earlier.message_key = mine.message_key
              AND earlier.seq < mine.seq AND earlier.state <> 'ready'
        ))
        ORDER BY mine.seq LIMIT 1
    )
    UNION ALL SELECT MIN(due_at) FROM cqrs_work WHERE state = 'waiting'
    UNION ALL SELECT * FROM (
        SELECT mine.due_at FROM cqrs_work AS mine
        WHERE mine.state = 'ready' AND (mine.lane IS NULL OR NOT EXISTS (
            SELECT 1 FROM cqrs_work AS earlier WHERE earlier.lane = mine.lane AND earlier.seq < mine.seq
        ))
        LIMIT 1
    )
)";

const COUNTS: &str = "
SELECT
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state IN ('ready', 'claimed', 'waiting')) AS outbox,
    (SELECT COUNT(*) FROM cqrs_work WHERE state IN ('ready', 'claimed', 'waiting')) AS work,
    (SELECT COUNT(*) FROM cqrs_work WHERE state IN ('ready', 'claimed', 'waiting') AND kind = 'timer') AS timers,
    (SELECT COUNT(*) FROM cqrs_inbox) AS inbox,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead')
        + (SELECT COUNT(*) FROM cqrs_work WHERE state = 'dead') AS dead,
    (SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'claimed')
        + (SELECT COUNT(*) FROM cqrs_work WHERE state = 'claimed') AS claimed";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[HAND_BACK[0], HAND_BACK[1], NEXT_DUE, COUNTS];

impl SqliteStore {
    pub(super) async fn hand_back(&self, owner: String) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for statement in HAND_BACK {
            self.named(sqlx::query(statement).bind(owner.as_str()).execute(&mut *tx).await)?;
        }
        tx.commit().await
    }
}

pub(super) async fn next_due(pool: &SqlitePool) -> Result<Option<SystemTime>, sqlx::Error> {
    let next: Option<i64> = sqlx::query_scalar(NEXT_DUE).fetch_one(pool).await?;
    Ok(next.map(rows::time))
}

pub(super) async fn counts(pool: &SqlitePool) -> Result<Counts, sqlx::Error> {
    let row = sqlx::query(COUNTS).fetch_one(pool).await?;
    let count = |column| row.try_get::<i64, &str>(column).map(|count| u64::try_from(count).unwrap_or(0));
    Ok(Counts {
        outbox: count("outbox")?,
        work: count("work")?,
        timers: count("timers")?,
        inbox: count("inbox")?,
        dead: count("dead")?,
        claimed: count("claimed")?,
    })
}
