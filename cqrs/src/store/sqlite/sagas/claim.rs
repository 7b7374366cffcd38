//! Claims of sagas.

use std::time::SystemTime;

use sqlx::Row;

use super::super::{SqliteStore, rows};
use super::find::{STEPS, row_of, step_of};
use crate::store::claiming::Request;
use crate::store::{ClaimedSaga, SagaClaim, StoreError};

/// Whether a claim would find something: asked without the write lock, so that an idle worker disturbs no writer.
const ANYTHING: &str = "
SELECT EXISTS (SELECT 1 FROM cqrs_sagas WHERE due_at <= ?1) OR EXISTS (SELECT 1 FROM cqrs_sagas WHERE lease_until <= ?2)";

/// Doubts owners whose leases have run out, and gives them so much longer to say that they live: see the outbox.
const DOUBT: &str = "UPDATE cqrs_sagas SET doubted = 1, lease_until = ?2 WHERE lease_until <= ?1 AND doubted = 0";

const DUE: &str = "
SELECT id, was_held FROM (
    SELECT * FROM (SELECT id, due_at AS since, FALSE AS was_held FROM cqrs_sagas WHERE due_at <= ?1 ORDER BY due_at LIMIT ?3)
    UNION ALL
    SELECT * FROM (SELECT id, lease_until, TRUE FROM cqrs_sagas WHERE lease_until <= ?2 AND doubted = 1 ORDER BY lease_until LIMIT ?3)
) ORDER BY since, id LIMIT ?3";

const CLAIM: &str = "
UPDATE cqrs_sagas SET owner = ?2, fence = fence + 1, lease_until = ?3, doubted = 0, due_at = NULL, poked = 0 WHERE id = ?1
RETURNING *";

const NEXT_DUE: &str = "SELECT MIN(due_at) FROM cqrs_sagas WHERE due_at IS NOT NULL";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[ANYTHING, DOUBT, DUE, CLAIM, NEXT_DUE];

impl SqliteStore {
    pub(super) async fn claim_sagas(&self, request: Request) -> Result<Vec<ClaimedSaga>, StoreError> {
        let anything = sqlx::query_scalar(ANYTHING).bind(request.now).bind(request.lease_now);
        if request.limit == 0 || !self.named(anything.fetch_one(&self.pool).await)? {
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        let request = request.granted();
        let due = sqlx::query(DUE).bind(request.now).bind(request.lease_now).bind(rows::limit(request.limit));
        let due = self.named(due.fetch_all(&mut *tx).await)?;
        let mut claimed = Vec::with_capacity(due.len());
        for found in due {
            let (id, was_held): (String, bool) = (found.try_get("id")?, found.try_get("was_held")?);
            let claim = sqlx::query(CLAIM).bind(id.as_str()).bind(request.owner.as_str()).bind(request.lease_until);
            let row = self.named(claim.fetch_one(&mut *tx).await)?;
            let steps = self.named(sqlx::query(STEPS).bind(id.as_str()).fetch_all(&mut *tx).await)?;
            let steps = steps.iter().map(step_of).collect::<Result<_, _>>()?;
            let claim = SagaClaim { id, fence: row.try_get("fence")? };
            claimed.push(ClaimedSaga { claim, row: row_of(&row)?, steps, was_held });
        }
        let doubt = sqlx::query(DOUBT).bind(request.lease_now).bind(request.doubt_until());
        self.named(doubt.execute(&mut *tx).await)?;
        tx.commit().await?;
        Ok(claimed)
    }

    pub(super) async fn next_saga_due(&self) -> Result<Option<SystemTime>, StoreError> {
        let due: Option<i64> = self.named(sqlx::query_scalar(NEXT_DUE).fetch_one(&self.pool).await)?;
        Ok(due.map(rows::time))
    }
}
